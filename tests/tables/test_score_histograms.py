"""Histograms of scores, each against DuckDB's SQL on the same rows."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.tables.groups import label_counts
from pipeline.tables.score_histograms import SCORE_BINS, score_histograms, sum_histograms
from pipeline.tasks.classification import DECISIONS, SCORES
from pipeline.tasks.question_answering import ANSWERS
from pipeline.tasks.token_classification import ENTITIES

SCORE = st.integers(0, 20).map(lambda n: n / 20) | st.floats(0, 1)  # edges of bins, and what lies between
LABEL = st.sampled_from(["cat", "dog", "é'\""])
LABELS = ("cat", "dog", "emu")
BINNED = "select label, least(floor(score::double * 10), 9)::int as bin, count(*) from ({}) group by all"


def expected(rows: pa.Table, sql: str) -> dict[str, list[int]]:
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        cells = connection.execute(BINNED.format(sql)).fetchall()
    histograms: dict[str, list[int]] = {label: [0] * SCORE_BINS for label, _, _ in cells}
    for label, bin_, documents in cells:
        histograms[label][bin_] = documents
    return histograms


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(LABEL | st.none(), SCORE)))
def test_one_label(documents: list[tuple[str | None, float]]):
    fields = [(field.name, field.type) for field in DECISIONS["single_label"][:2]]
    rows = pa.table(list(map(list, zip(*documents, strict=True))) or [[], []], schema=pa.schema(fields))
    assert score_histograms(rows) == expected(rows, "from rows where label is not null")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=3, max_size=3)))
def test_several_labels(documents: list[list[tuple[bool, float]]]):
    labels = [[name for name, (has, _) in zip(LABELS, each, strict=True) if has] for each in documents]
    scores = [[{"label": n, "score": score} for n, (_, score) in zip(LABELS, each, strict=True)] for each in documents]
    rows = pa.table({"labels": pa.array(labels, pa.list_(pa.string())), "scores": pa.array(scores, SCORES)})
    exploded = "select labels, unnest(scores) as s from rows"
    sql = f"select s.label, s.score from ({exploded}) where list_contains(labels, s.label)"
    assert score_histograms(rows) == expected(rows, sql)
    check_sums(rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(LABEL, SCORE), max_size=4)))
def test_entities(documents: list[list[tuple[str, float]]]):
    entities = [
        [{"label": label, "text": "x", "start": 0, "stop": 1, "score": score} for label, score in each]
        for each in documents
    ]
    rows = pa.table({"entities": pa.array(entities, ENTITIES.type)})
    exploded = "select n, unnest(entities) as e from (select row_number() over () as n, entities from rows)"
    sql = f"select e.label, max(e.score) as score from ({exploded}) group by n, e.label"
    assert score_histograms(rows) == expected(rows, sql)
    check_sums(rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(st.booleans(), SCORE), min_size=2, max_size=2)))
def test_answers(documents: list[list[tuple[bool, float]]]):
    answers = [
        [
            {"question": question, "answer": "x" if has else None, "start": None, "stop": None, "score": score}
            for question, (has, score) in zip(("who?", "why?"), each, strict=True)
        ]
        for each in documents
    ]
    rows = pa.table({"answers": pa.array(answers, ANSWERS.type)})
    sql = "select a.question as label, a.score from (select unnest(answers) as a from rows) where a.answer is not null"
    assert score_histograms(rows) == expected(rows, sql)
    check_sums(rows)


def check_sums(rows: pa.Table) -> None:
    labels, _ = label_counts(rows)
    assert {label: sum(bins) for label, bins in score_histograms(rows).items()} == labels


def test_a_table_without_labels_has_none():
    assert score_histograms(pa.table({"value": [1.0]})) == {}
    assert sum_histograms([{}], {}) == {}


@pytest.mark.parametrize(("second", "total"), [({"cat": [1, *[0] * 9]}, {"cat": [1, 2, *[0] * 8]}), ({}, {})])
def test_files_are_added_up_if_all_of_them_tell(second: dict[str, list[int]], total: dict[str, list[int]]):
    assert sum_histograms([{"cat": [0, 2, *[0] * 8]}, second], {"cat": 3}) == total
