"""Logits -> decisions: by closed forms, by torch, and by what must not change them."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.tasks.classification import DECISIONS, Classification, sigmoid, softmax
from pipeline.terms import ProblemType

BIRDS = ("rook", "jackdaw", "crow")
SINGLE = Classification("single_label", BIRDS)
MULTI = Classification("multi_label", BIRDS)

logits = arrays(np.float64, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1e4, 1e4))
three_logits = arrays(np.float64, st.tuples(st.integers(1, 9), st.just(3)), elements=st.floats(-50, 50))


def decided(task: Classification, *rows: list[float]) -> dict[str, list[Any]]:
    arrays = task.decide(lists(np.array(rows, np.float64)))
    return {field.name: array.to_pylist() for field, array in zip(task.fields, arrays, strict=True)}


def lists(logits_NL: np.ndarray[Any, Any]) -> pa.Array:
    """As fragments hold them, but in float64."""
    return pa.array(list(logits_NL), pa.list_(pa.float64()))


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_softmax_of_two_is_the_sigmoid_of_their_difference() -> None:
    np.testing.assert_allclose(softmax(np.array([[3.0, 1.0]]))[0, 0], 1 / (1 + math.exp(-2.0)))


@given(logits)
def test_softmax_is_torchs(logits_NL: np.ndarray[Any, Any]) -> None:
    expected = torch.softmax(torch.from_numpy(logits_NL), 1).numpy()
    np.testing.assert_allclose(softmax(logits_NL), expected, rtol=1e-12, atol=1e-300)


@given(logits)
def test_sigmoid_is_torchs(logits_NL: np.ndarray[Any, Any]) -> None:
    expected = torch.sigmoid(torch.from_numpy(logits_NL)).numpy()
    np.testing.assert_allclose(sigmoid(logits_NL), expected, rtol=1e-12, atol=1e-300)


@given(logits, st.floats(-1e4, 1e4))
def test_softmax_sums_to_one_and_ignores_a_shift(logits_NL: np.ndarray[Any, Any], shift: float) -> None:
    np.testing.assert_allclose(softmax(logits_NL).sum(1), 1.0)
    np.testing.assert_allclose(softmax(logits_NL + shift), softmax(logits_NL), atol=1e-10)


def test_extreme_logits_do_not_overflow() -> None:
    largest = float(np.finfo(np.float32).max)
    extreme = np.array([[largest, -largest, 0.0]])
    with np.errstate(over="raise", invalid="raise"):
        assert softmax(extreme).tolist() == [[1.0, 0.0, 0.0]]
        assert sigmoid(extreme).tolist() == [[1.0, 0.0, 0.5]]
        assert decided(replace(SINGLE, temperature=0.01), extreme[0].tolist())["label"] == ["rook"]


def test_the_most_probable_label_is_the_label() -> None:
    row = [math.log(p) for p in (0.2, 0.5, 0.3)]
    found = decided(SINGLE, row)
    assert found["label"] == ["jackdaw"]
    assert found["score"] == [pytest.approx(0.5)]
    assert found["margin"] == [pytest.approx(0.2)]


def test_scores_are_listed_in_the_order_of_the_labels() -> None:
    found = decided(SINGLE, [math.log(p) for p in (0.25, 0.5, 0.25)], [0, 0, 1000])
    assert found["scores"] == [
        [{"label": "rook", "score": 0.25}, {"label": "jackdaw", "score": 0.5}, {"label": "crow", "score": 0.25}],
        [{"label": "rook", "score": 0.0}, {"label": "jackdaw", "score": 0.0}, {"label": "crow", "score": 1.0}],
    ]


def test_the_first_of_equal_labels_wins_by_no_margin() -> None:
    found = decided(SINGLE, [1.0, 1.0, 0.0])
    assert (found["label"], found["margin"]) == (["rook"], [0.0])


def test_the_margin_of_an_only_label_is_its_score() -> None:
    found = decided(Classification("single_label", ("rook",)), [3.0])
    assert (found["score"], found["margin"]) == ([1.0], [1.0])


@pytest.mark.parametrize(
    ("threshold", "label"),
    [(0.0, "rook"), (0.5, "rook"), (0.74, "rook"), (0.76, None)],
    ids=["none", "low", "just below", "just above"],
)
def test_a_label_below_its_threshold_is_null(threshold: float, label: str | None) -> None:
    task = Classification("single_label", ("rook", "crow"), {"rook": threshold})
    found = decided(task, [logit(0.75), 0.0])
    assert found["label"] == [label]
    assert found["score"] == [pytest.approx(0.75)]


def test_a_label_at_its_threshold_is_given() -> None:
    task = Classification("single_label", ("rook", "crow"), {"rook": 0.5})
    assert decided(task, [7.0, 7.0])["label"] == ["rook"]


def test_the_threshold_of_another_label_does_not_matter() -> None:
    task = replace(SINGLE, thresholds={"crow": 0.99})
    assert decided(task, [2.0, 0.0, 1.0], [0.0, 0.0, 1.0])["label"] == ["rook", None]


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        ((0.9, 0.1, 0.1), ["rook"]),
        ((0.9, 0.1, 0.8), ["rook", "crow"]),
        ((0.1, 0.2, 0.3), []),
        ((0.5, 0.5, 0.5), list(BIRDS)),
    ],
    ids=["one", "two", "none", "at the threshold"],
)
def test_every_label_over_half_is_listed(probabilities: tuple[float, ...], labels: list[str]) -> None:
    assert decided(MULTI, [logit(p) for p in probabilities])["labels"] == [labels]


def test_multi_label_thresholds_are_each_labels_own() -> None:
    task = replace(MULTI, thresholds={"rook": 0.9, "jackdaw": 0.1})
    row = [logit(p) for p in (0.8, 0.2, 0.6)]
    assert decided(task, row, [-9.0] * 3, row)["labels"] == [["jackdaw", "crow"], [], ["jackdaw", "crow"]]


def test_multi_label_scores_need_not_sum_to_one() -> None:
    (scores,) = decided(MULTI, [0.0, logit(0.75), 99.0])["scores"]
    assert [score["score"] for score in scores] == pytest.approx([0.5, 0.75, 1.0])


def test_a_regression_is_the_logit() -> None:
    task = Classification("regression", ("score",), temperature=2.0)
    assert decided(task, [1.5], [-3.0]) == {"value": [1.5, -3.0]}


@pytest.mark.parametrize(
    ("probability", "thresholds", "label", "score", "margin"),
    [
        (0.75, {}, "spam", 0.75, 0.5),
        (0.25, {}, "ham", 0.75, 0.5),
        (0.5, {}, "spam", 0.5, 0.0),
        (0.75, {"spam": 0.8}, "ham", 0.25, -0.5),
        (0.25, {"spam": 0.2}, "spam", 0.25, -0.5),
    ],
    ids=["above", "below", "at half", "below its own", "above its own"],
)
def test_a_binary_problem_has_one_output_and_two_labels(
    probability: float, thresholds: dict[str, float], label: str, score: float, margin: float
) -> None:
    task = Classification("binary", ("ham", "spam"), thresholds)
    found = decided(task, [logit(probability)])
    assert found["label"] == [label]
    assert found["score"] + found["margin"] == pytest.approx([score, margin])
    (scores,) = found["scores"]
    assert [s["label"] for s in scores] == ["ham", "spam"]
    assert [s["score"] for s in scores] == pytest.approx([1 - probability, probability])


@given(three_logits)
def test_a_binary_problem_is_a_single_label_one_with_a_logit_of_zero(
    logits_NL: np.ndarray[Any, Any],
) -> None:
    binary = Classification("binary", ("ham", "spam"), temperature=2.0)
    single = Classification("single_label", ("ham", "spam"), temperature=2.0)
    both_NL = np.stack([0 * logits_NL[:, 0], logits_NL[:, 0]], axis=1)
    _, *of_one = binary.decide(lists(logits_NL[:, :1]))
    _, *of_two = single.decide(lists(both_NL))
    np.testing.assert_allclose(of_one[0], of_two[0], rtol=1e-12)
    np.testing.assert_allclose(of_one[1], of_two[1], atol=1e-12)


def test_the_temperature_divides_the_logits() -> None:
    hot, cold = decided(replace(SINGLE, temperature=2.0), [4.0, 2.0, 0.0]), decided(SINGLE, [2.0, 1.0, 0.0])
    assert hot == cold


@given(three_logits, st.floats(0.1, 10))
def test_the_temperature_keeps_the_order(logits_NL: np.ndarray[Any, Any], temperature: float) -> None:
    order = np.argsort(softmax(logits_NL / temperature), axis=1, kind="stable")
    np.testing.assert_allclose(np.take_along_axis(logits_NL, order, 1), np.sort(logits_NL, axis=1), atol=1e-12)


@given(three_logits)
def test_a_document_is_decided_alone(logits_NL: np.ndarray[Any, Any]) -> None:
    together = zip(*(array.to_pylist() for array in SINGLE.decide(lists(logits_NL))), strict=True)
    alone = [tuple(array.to_pylist()[0] for array in SINGLE.decide(lists(row))) for row in logits_NL[:, None]]
    assert list(together) == alone


@pytest.mark.parametrize("problem_type", list(DECISIONS))
@pytest.mark.parametrize("n", [1, 5])
def test_columns_are_of_the_declared_types(problem_type: ProblemType, n: int) -> None:
    task = Classification(problem_type, BIRDS[:2])
    arrays = task.decide(lists(np.zeros((n, 1 if problem_type == "binary" else 2))))
    assert pa.schema(task.fields).types == [array.type for array in arrays]
    assert {len(array) for array in arrays} == {n}
    for array in arrays:
        array.validate(full=True)


@pytest.mark.parametrize(
    ("problem_type", "names"),
    [
        ("single_label", ["label", "score", "margin", "scores"]),
        ("multi_label", ["labels", "scores"]),
        ("binary", ["label", "score", "margin", "scores"]),
        ("regression", ["value"]),
    ],
)
def test_the_columns_of_each_problem(problem_type: ProblemType, names: list[str]) -> None:
    assert [field.name for field in Classification(problem_type, BIRDS).fields] == names


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": {"rook": 0.5}},
        {"thresholds": {"rook": 0.6}},
        {"thresholds": {"crow": 0.5}},
        {"temperature": 1.5},
        {"labels": ("jackdaw", "rook", "crow")},
        {"labels": ("rook", "jackdaw")},
        {"problem_type": "multi_label"},
    ],
    ids=json.dumps,
)
def test_whatever_decides_changes_the_key(change: dict[str, Any]) -> None:
    assert replace(SINGLE, **change).key != SINGLE.key


def test_the_key_never_changes() -> None:
    assert replace(SINGLE, thresholds={"rook": 0.5}, temperature=2.0).key == "c03da24b62ae63b9"


def test_the_order_of_the_thresholds_is_no_matter() -> None:
    once = replace(SINGLE, thresholds={"rook": 0.5, "crow": 0.6})
    assert replace(SINGLE, thresholds={"crow": 0.6, "rook": 0.5}).key == once.key


def test_deciding_leaves_the_key_alone() -> None:
    before = SINGLE.key
    decided(SINGLE, [1.0, 2.0, 3.0])
    assert SINGLE.key == before == Classification("single_label", BIRDS).key
