"""A text out of several columns is what DuckDB's concat_ws makes of them."""

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.corpus.joined_texts import joined_text
from pipeline.corpus.labels import Labelled, truths
from pipeline.corpus.large_texts import LARGE_BYTES
from pipeline.corpus.slices import Reading
from pipeline.errors import CorpusError
from tests.corpus.files import STORAGE, limited, put, read_units, rows_of, texts_of, units_of

COLUMNS = ("title", "doc.abstract", "doc.body")
DOC = pa.struct([("abstract", pa.string()), ("body", pa.string())])
SCHEMA = pa.schema([("title", pa.string()), ("doc", DOC)])

texts = st.none() | st.just("") | st.text(max_size=4)
docs = st.none() | st.fixed_dictionaries({"abstract": texts, "body": texts})
records = st.lists(st.fixed_dictionaries({"title": texts, "doc": docs}), min_size=1, max_size=8)


@given(records, st.sampled_from(["\n\n", " ", "", "日"]))
def test_several_columns_are_joined_as_duckdb_joins_them(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]], separator: str
) -> None:
    folder = tmp_path_factory.mktemp("joined")
    pq.write_table(pa.Table.from_pylist(values, schema=SCHEMA), folder / "a.parquet", row_group_size=3)
    put(folder / "a.jsonl", "".join(json.dumps(value) + "\n" for value in values))
    parts = [f"nullif({column}, '')" for column in COLUMNS]
    query = (
        f"SELECT CASE WHEN coalesce({', '.join(COLUMNS)}) IS NOT NULL THEN concat_ws($1, {', '.join(parts)}) END "
        f"FROM '{folder}/a.parquet'"
    )
    expected = [text for (text,) in duckdb.execute(query, [separator]).fetchall()]
    for name in ("a.parquet", "a.jsonl"):
        assert texts_of(folder / name, text_column=COLUMNS, text_separator=separator) == expected


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_columns_of_csv_are_joined_in_the_order_of_the_setting(tmp_path: Path, name: str) -> None:
    file = io.StringIO()
    rows = [["body", "id", "title"], ["b1", "1", "t1"], ["b2", "2", ""], ["", "3", ""]]
    csv.writer(file, delimiter="\t" if name == "a.tsv" else ",").writerows(rows)
    path = put(tmp_path / name, file.getvalue())
    assert texts_of(path, id_column="id", text_column=("title", "body")) == ["t1\n\nb1", "b2", ""]


def test_what_is_joined_is_the_document_that_is_read(tmp_path: Path) -> None:
    """Training and evaluation see it, and its digest, as they see the same text in one column."""
    parts = put(tmp_path / "a.jsonl", json.dumps({"id": "a", "title": "t", "body": "b", "label": "x"}))
    whole = put(tmp_path / "b.jsonl", json.dumps({"id": "a", "text": "t\n\nb", "label": "x"}))
    common: dict[str, Any] = {"id_column": "id", "label_column": "label"}
    several = LabelledCorpusSettings(uris=(str(parts),), text_column=("title", "body"), **common)
    one = LabelledCorpusSettings(uris=(str(whole),), **common)
    assert list(Labelled.open(STORAGE, several)) == list(Labelled.open(STORAGE, one))
    (of_parts,), (of_whole,) = (
        [truth for _, truth in truths(STORAGE, settings, Labelled.open(STORAGE, settings).units)]
        for settings in (several, one)
    )
    assert of_parts == of_whole
    assert of_parts.digest == hashlib.sha256(b"t\n\nb").digest()[:16]


def test_the_limit_of_a_document_holds_for_what_is_joined(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["x" * 50] * 2, "b": ["y" * 50, "y" * 47]}), tmp_path / "a.parquet")
    (unit,) = units_of(tmp_path / "a.parquet", text_column=("a", "b"), text_separator=" - ")
    assert [row["reason"] for row in read_units([limited(unit, 100)])] == ["too_large", None]


def test_a_large_text_is_joined_without_becoming_a_string(tmp_path: Path) -> None:
    half = "日" * (LARGE_BYTES // 3 + 1)
    pq.write_table(pa.table({"a": [half, "s"], "b": [half, None]}), tmp_path / "a.parquet")
    (unit,) = units_of(tmp_path / "a.parquet", 2**30, text_column=("a", "b"))
    large, small = read_units([unit])
    assert large["text"] == f"{half}\n\n{half}"
    assert small["text"] == "s"
    reading = Reading(None, ("a", "b"))
    assert isinstance(joined_text(reading, [half.encode(), b"end"]), pa.Buffer)


def test_a_part_that_is_no_string_is_an_error_that_names_its_column(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", '{"title": "t", "body": 7}\n{"title": 1}\n{"title": null, "body": null}\n')
    number, absent, null = rows_of(path, text_column=("title", "body"))
    assert (number["reason"], number["message"]) == ("not_a_string", "column 'body': expected a string, found int")
    assert (absent["reason"], absent["message"]) == ("no_column", "no column 'body'; the record has 'title'")
    assert (null["reason"], null["text"]) == (None, None)


def test_each_of_several_columns_must_be_there(tmp_path: Path) -> None:
    pq.write_table(pa.table({"title": ["t"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"no column 'body' \(corpus.text_column\); the file has title, n"):
        units_of(tmp_path / "a.parquet", text_column=("title", "body"))
    with pytest.raises(CorpusError, match=r"column 'n' \(corpus.text_column\) is int64; expected strings"):
        units_of(tmp_path / "a.parquet", text_column=("title", "n"))


def test_units_are_cut_by_the_size_of_all_text_columns(tmp_path: Path) -> None:
    table = pa.table({"title": ["t" * 2000] * 40, "body": ["b" * 2000] * 40})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4, use_dictionary=False, compression="none")
    one, two = (len(units_of(tmp_path / "a.parquet", 40_000, text_column=c)) for c in ("title", ("title", "body")))
    assert one < two


def test_columns_their_order_and_the_separator_are_in_the_id_only_where_they_are_several(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.jsonl"))
    several = Reading(None, ("a", "b"), text_separator="\n")
    others = [("b", "a"), ("a", "b", "b"), ("a",), ("ab",), ("a,b",)]
    readings = [several, replace(several, text_separator=" "), *(replace(several, text_columns=c) for c in others)]
    assert len({replace(unit, reading=reading).id("key") for reading in readings}) == len(readings)
    alone = [Reading(None, ("a",)), Reading(None, ("a",), text_separator=" ")]
    assert len({replace(unit, reading=reading).id("key") for reading in alone}) == 1
