"""Thresholds, against F1 written out at every threshold that makes a difference."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.evaluation.thresholds import fit_thresholds


def fitted(scores: list[float], truth: list[int]) -> float | None:
    (threshold,) = fit_thresholds(np.array(scores)[:, None], np.array(truth, float)[:, None])
    return threshold


def f1(scores: list[float], truth: list[int], threshold: float) -> float:
    given = [score >= threshold for score in scores]
    right = sum(g and t == 1 for g, t in zip(given, truth, strict=True))
    return 2 * right / (sum(given) + sum(truth))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=20))
@settings(deadline=None)
def test_no_threshold_has_a_better_f1(pairs: list[tuple[float, int]]):
    scores, truth = map(list, zip(*pairs, strict=True))
    threshold = fitted(scores, truth)
    if not any(truth):
        assert threshold is None
        return
    assert threshold is not None
    assert 0 <= threshold <= 1
    best = f1(scores, truth, threshold)
    for other in [0.5, *scores]:
        assert best >= f1(scores, truth, other) - 1e-12


@pytest.mark.parametrize(
    ("scores", "truth", "threshold"),
    [
        ([0.1, 0.9], [0, 1], 0.5),
        ([0.6, 0.9], [0, 1], 0.75),
        ([0.1, 0.3], [0, 1], 0.2),
        ([0.1, 0.2], [1, 1], 0.05),
        ([0.5, 0.5], [1, 0], 0.5),
    ],
    ids=["0.5 does", "between two high", "between two low", "below all", "equal scores"],
)
def test_the_nearest_to_a_half_of_the_best(scores: list[float], truth: list[int], threshold: float):
    assert fitted(scores, truth) == pytest.approx(threshold)


def test_of_two_neighbouring_floats_whose_middle_rounds_to_the_lower_it_is_the_upper():
    assert fitted([0.0, 5e-324], [0, 1]) == 5e-324


def test_each_label_has_its_own():
    scores_NL = np.array([[0.6, 0.1, 0.3], [0.9, 0.3, 0.2]])
    truth_NL = np.array([[0.0, 0, 0], [1, 1, 0]])
    assert fit_thresholds(scores_NL, truth_NL) == [pytest.approx(0.75), pytest.approx(0.2), None]
