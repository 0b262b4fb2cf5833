"""The digest that warehouses compute too: here against DuckDB's MD5."""

import duckdb
import pyarrow as pa
from hypothesis import given, strategies as st

from pipeline.tables.rows_digest import DIGESTED, rows_digest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(st.tuples(*[TEXT] * len(DIGESTED)), max_size=8)
DATABASE = duckdb.connect()
SCHEMA = pa.schema([(name, pa.string()) for name in DIGESTED])


def table(rows: list[tuple[str, ...]]) -> pa.Table:
    return pa.table([[row[n] for row in rows] for n in range(len(DIGESTED))], schema=SCHEMA)


@given(ROWS, st.randoms())
def test_it_is_what_a_database_computes_of_rows_in_any_order(rows, dice):
    expected = rows_digest(table(rows))
    shuffled = dice.sample(rows, len(rows))
    joined = " || '|' || ".join(DIGESTED)
    query = f"SELECT coalesce(sum(('0x' || md5({joined})[:8])::BIGINT), 0)::BIGINT FROM rows"
    assert DATABASE.register("rows", table(shuffled)).execute(query).fetchall() == [(expected,)]


@given(ROWS, ROWS)
def test_it_adds_up_over_files(one, other):
    of_one, of_other, of_both = (rows_digest(table(rows)) for rows in (one, other, one + other))
    assert None not in (of_one, of_other)
    assert of_both == (of_one or 0) + (of_other or 0)


def test_a_row_of_another_key_or_content_has_another_digest():
    row = ["k", "d", "c" * 64, "a"]
    others = [[*row[:n], row[n] + "x", *row[n + 1 :]] for n in range(len(row))]
    assert len({rows_digest(table([tuple(r)])) for r in [row, *others]}) == 1 + len(others)


def test_documents_without_a_prediction_have_none():
    assert rows_digest(pa.table({"id": ["a"], "scoring_key": ["k"]})) is None
