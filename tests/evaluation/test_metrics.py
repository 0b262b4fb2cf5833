"""Metrics, against their definitions written out and counted by DuckDB."""

from dataclasses import astuple, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from sklearn.metrics import confusion_matrix

from pipeline.evaluation.metrics import Confusion, Metrics, measure_classification, measure_regression
from pipeline.evaluation.scored_documents import ScoredDocuments
from pipeline.tasks.classification import Classification, softmax
from pipeline.terms import ProblemType
from tests.evaluation.data import any_examples, examples, sampled

COUNTS = """
WITH counts AS (
  SELECT label, sum(truth)::INT AS support, sum(given)::INT AS given, sum(truth * given)::INT AS hits
  FROM pairs GROUP BY label
), figures AS (
  SELECT *, hits / nullif(given, 0) AS precision, hits / nullif(support, 0) AS recall,
         2 * hits / nullif(given + support, 0) AS f1
  FROM counts
)
SELECT list((label, support, given, precision, recall, f1) ORDER BY label),
       avg(f1) FILTER (support > 0), 2 * sum(hits) / nullif(sum(given) + sum(support), 0),
       (SELECT avg(exact::INT) FROM (SELECT bool_and(truth = given) AS exact FROM pairs GROUP BY document))
FROM figures
"""


def task(problem_type: ProblemType, found: ScoredDocuments, **decision: Any) -> Classification:
    return Classification(problem_type, tuple("abcdef"[: found.truth_NL.shape[1]]), **decision)


def counted(decided: Classification, found: ScoredDocuments) -> tuple[Any, ...]:
    """Figures of each label, macro F1, micro F1 and accuracy, by DuckDB, from the arrays that the table would get."""
    truth = [
        {label for label, value in zip(decided.labels, row, strict=True) if value} for row in found.truth_NL.tolist()
    ]
    names = decided.decide(pa.array(found.logits_NL.tolist(), pa.list_(pa.float64())))[0].to_pylist()
    given = [set(n if isinstance(n, list) else filter(None, [n])) for n in names]
    pairs = pa.Table.from_pylist(
        [
            {"document": i, "label": label, "truth": int(label in t), "given": int(label in g)}
            for i, (t, g) in enumerate(zip(truth, given, strict=True))
            for label in decided.labels
        ]
    )
    with duckdb.connect() as database:
        database.register("pairs", pairs)
        (row,) = database.sql(COUNTS).fetchall()
    return tuple(row)


def check(decided: Classification, found: ScoredDocuments) -> Metrics:
    metrics = measure_classification(found, decided)
    labels, macro_f1, micro_f1, accuracy = counted(decided, found)
    ours = [(m.label, m.support, m.given, m.precision, m.recall, m.f1) for m in metrics.labels]
    for mine, theirs in zip(ours, labels, strict=True):
        assert mine == pytest.approx(tuple(theirs))
    assert (metrics.macro_f1, metrics.micro_f1, metrics.accuracy) == pytest.approx((macro_f1, micro_f1, accuracy))
    return metrics


@given(any_examples("multi_label"))
@settings(deadline=None, max_examples=25)
def test_multi_label_is_what_duckdb_counts(found: ScoredDocuments):
    if found.truth_NL.any():
        check(task("multi_label", found), found)


@given(any_examples("single_label", least_labels=2))
@settings(deadline=None, max_examples=25)
def test_single_label_is_what_duckdb_counts(found: ScoredDocuments):
    check(task("single_label", found, thresholds={"a": 0.6}), found)


def test_many_documents_and_fitted_values():
    found = sampled("multi_label", 500, 4)
    thresholds = {"a": 0.3, "b": 0.9, "c": 0.5, "d": 0.05}
    metrics = check(task("multi_label", found, thresholds=thresholds, temperature=2.0), found)
    assert {label.label: label.threshold for label in metrics.labels} == thresholds


def test_one_output_is_one_label_and_not_two_classes():
    found = examples(np.array([[2.0], [1], [-1], [-2]]), np.array([[1.0], [0], [1], [0]]))
    metrics = check(task("multi_label", found), found)
    assert (metrics.macro_f1, metrics.micro_f1, metrics.accuracy) == (0.5, 0.5, 0.5)
    assert metrics.without_label == 2


def test_a_document_without_labels_that_gets_none_is_right():
    found = examples(np.array([[-2.0, -2], [3, -2]]), np.array([[0.0, 0], [1, 0]]))
    metrics = check(task("multi_label", found), found)
    assert metrics.accuracy == 1.0
    assert metrics.without_label == 1


def test_what_is_not_defined_is_none():
    found = examples(np.array([[1.0, -1, -1], [1.0, -1, -1]]), np.array([[1.0, 1, 0], [0, 0, 0]]))
    a, b, c = measure_classification(found, task("multi_label", found)).labels
    assert (a.precision, a.recall, a.f1) == pytest.approx((0.5, 1.0, 2 / 3))
    assert (b.precision, b.recall, b.f1) == (None, 0.0, 0.0)
    assert (c.precision, c.recall, c.f1, c.average_precision) == (None, None, None, None)


def test_average_precision_is_the_mean_precision_at_each_hit():
    scores, truth = [0.9, 0.8, 0.6, 0.3, 0.2], [1, 0, 1, 0, 1]
    found = examples(np.array([[np.log(s / (1 - s)), 0.0] for s in scores]), np.array([[t, 1.0] for t in truth]))
    metrics = measure_classification(found, task("multi_label", found))
    # hits at ranks 1, 3 and 5
    expected = (1 / 1 + 2 / 3 + 3 / 5) / 3
    assert metrics.labels[0].average_precision == pytest.approx(expected)
    assert metrics.macro_average_precision == pytest.approx((expected + 1) / 2)


def test_single_label_confusion_is_scikit_learns():
    found = sampled("single_label", 300, 4)
    decided = task("single_label", found)
    expected = confusion_matrix(found.truth_NL.argmax(1), found.logits_NL.argmax(1))
    counts = {(c.true, c.given): c.documents for c in measure_classification(found, decided).confusion}
    for i, true in enumerate("abcd"):
        for j, given_label in enumerate("abcd"):
            assert counts.get((true, given_label), 0) == expected[i, j]


@given(any_examples("multi_label"))
@settings(deadline=None, max_examples=25)
def test_multi_label_confusion_written_out(found: ScoredDocuments):
    if not found.truth_NL.any():
        return
    decided = task("multi_label", found)
    given_NL = decided.given(decided.scores(found.logits_NL))
    expected: dict[tuple[str | None, str | None], int] = {}
    for truth_L, given_L in zip(found.truth_NL, given_NL, strict=True):
        has: set[str | None] = {label for label, t in zip(decided.labels, truth_L, strict=True) if t}
        gets: set[str | None] = {label for label, g in zip(decided.labels, given_L, strict=True) if g}
        for true in has or {None}:
            for got in gets or {None}:
                if true == got or got not in (has or {None}):
                    expected[true, got] = expected.get((true, got), 0) + 1
    found_ = [astuple(c) for c in measure_classification(found, decided).confusion]
    assert {(t, g): n for t, g, n in found_} == expected


def test_a_binary_problem_is_measured_as_two_labels():
    found = sampled("single_label", 300, 2)
    single, binary = (measure_classification(found, task(kind, found)) for kind in ("single_label", "binary"))
    assert [label.threshold for label in binary.labels] == [0.5, 0.5]
    labels = tuple(replace(label, threshold=0.0) for label in binary.labels)
    assert replace(binary, labels=labels) == single
    strict = measure_classification(found, task("binary", found, thresholds={"b": 0.9}))
    given = softmax(found.logits_NL)[:, 1] >= 0.9
    assert strict.accuracy == pytest.approx((given == found.truth_NL[:, 1]).mean())


def test_a_document_below_its_threshold_gets_no_label():
    found = examples(np.array([[2.0, 0], [0.1, 0], [0, 3]]), np.array([[1.0, 0], [1, 0], [0, 1]]))
    metrics = measure_classification(found, task("single_label", found, thresholds={"a": 0.8}))
    assert set(metrics.confusion) == {Confusion("a", "a", 1), Confusion("a", None, 1), Confusion("b", "b", 1)}
    assert metrics.accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("measure_name", ["tokens", "windows"])
def test_lengths_cover_every_document_once(measure_name: str):
    found = sampled("single_label", 400, 3)
    metrics = measure_classification(found, task("single_label", found))
    buckets = [b for b in metrics.lengths if b.measure == measure_name]
    length_N = found.tokens_N if measure_name == "tokens" else found.windows_N
    for bucket in buckets:
        high = bucket.high or 10**9
        inside_N = (bucket.low <= length_N) & (length_N <= high)
        assert bucket.documents == inside_N.sum()
        right_N = (found.truth_NL.argmax(1) == found.logits_NL.argmax(1))[inside_N]
        assert bucket.accuracy == pytest.approx(right_N.mean())
    assert sum(b.documents for b in buckets) == 400
    assert buckets[-1].high is None or measure_name == "windows"


@pytest.mark.parametrize(
    ("tokens", "bounds"),
    [(0, (1, 512)), (512, (1, 512)), (513, (513, 1024)), (4096, (2049, 4096)), (16385, (16385, None))],
)
def test_bounds_belong_to_the_bucket(tokens: int, bounds: tuple[int, int | None]):
    found = examples(np.array([[1.0, 0]]), np.array([[1.0, 0]]))
    found = ScoredDocuments(found.logits_NL, found.truth_NL, np.array([tokens]), found.windows_N)
    bucket = measure_classification(found, task("single_label", found)).lengths[0]
    assert (bucket.low, bucket.high) == bounds


def test_regression():
    random = np.random.default_rng(0)
    truth_N = random.normal(size=50)
    value_N = truth_N + 0.3 * random.normal(size=50)
    metrics = measure_regression(examples(value_N[:, None], truth_N[:, None]))
    error_N = value_N - truth_N
    assert metrics.mean_absolute_error == pytest.approx(abs(error_N).mean())
    assert metrics.root_mean_squared_error == pytest.approx((error_N**2).mean() ** 0.5)
    assert metrics.r2 == pytest.approx(1 - (error_N**2).sum() / ((truth_N - truth_N.mean()) ** 2).sum())
    ranks = [np.argsort(np.argsort(values_N)) for values_N in (truth_N, value_N)]
    assert metrics.spearman == pytest.approx(np.corrcoef(ranks[0], ranks[1])[0, 1])
    assert [b.documents for b in metrics.lengths] == [50, 50]


def test_a_constant_has_no_correlation():
    same = np.ones((4, 1))
    metrics = measure_regression(examples(same, same))
    assert (metrics.r2, metrics.spearman, metrics.mean_absolute_error) == (None, None, 0.0)
