"""Calibration, by the paper's formula written out, by torch, and by data that is calibrated by construction."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st

from pipeline.evaluation.calibration import (
    BINS,
    bins,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
    predicted,
)
from pipeline.evaluation.scored_documents import ScoredDocuments
from pipeline.tasks.classification import Classification
from pipeline.terms import ProblemType
from tests.evaluation.data import any_examples, examples, sampled

PROBLEMS: list[ProblemType] = ["single_label", "multi_label"]


def error_written_out(probabilities: list[float], true: list[bool]) -> float:
    """Guo et al. 2017, equations 1 to 3: bin m holds what is in ((m - 1) / M, m / M]."""
    total = 0.0
    for m in range(1, BINS + 1):
        held = [
            (p, t)
            for p, t in zip(probabilities, true, strict=True)
            if (m - 1) / BINS < p <= m / BINS or (m == 1 and p == 0)
        ]
        if held:
            accuracy = sum(t for _, t in held) / len(held)
            confidence = sum(p for p, _ in held) / len(held)
            total += len(held) / len(probabilities) * abs(accuracy - confidence)
    return total


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
@settings(deadline=None)
def test_calibration_error_is_the_papers(pairs: list[tuple[float, bool]]):
    # on a bin's very border rounding decides; a probability there is as good in either bin
    pairs = [(p, t) for p, t in pairs if abs(p * BINS - round(p * BINS)) > 1e-9 or p in (0.0, 1.0)]
    if pairs:
        probabilities, true = map(list, zip(*pairs, strict=True))
        found = calibration_error(bins(np.array(probabilities), np.array(true)))
        assert found == pytest.approx(error_written_out(probabilities, true), abs=1e-12)


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_probabilities_that_come_true_as_often_as_they_say_have_no_error(problem_type: ProblemType):
    # 20,000 documents: a bin of some 1,000 is off by 0.012 on average, and the bins' mean is below that
    assert measured_error(problem_type, sampled(problem_type, 20_000, 4)) < 0.012


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_probabilities_that_are_too_sure_have_one(problem_type: ProblemType):
    assert measured_error(problem_type, sampled(problem_type, 20_000, 4, hotter=4)) > 0.1


def measured_error(problem_type: ProblemType, found: ScoredDocuments, temperature: float = 1.0) -> float:
    task = Classification(problem_type, tuple("abcd"), {}, temperature)
    scores_NL = task.scores(found.logits_NL)
    return calibration_error(bins(*predicted(problem_type, scores_NL, found.truth_NL)))


def test_a_promise_that_is_never_kept_is_an_error_of_one():
    assert calibration_error(bins(np.ones(3), np.zeros(3, bool))) == 1.0


def test_what_a_bin_holds():
    (low, high) = bins(np.array([0.01, 0.02, 0.95]), np.array([False, True, True]))
    assert astuple(low) == pytest.approx((0, 1 / 15, 2, 0.015, 0.5))
    assert astuple(high) == pytest.approx((14 / 15, 1, 1, 0.95, 1.0))


@given(any_examples("single_label", least_labels=2), st.floats(0.2, 5))
@settings(deadline=None, max_examples=30)
def test_likelihood_of_single_label_is_torchs_cross_entropy(found: ScoredDocuments, temperature: float):
    logits = torch.from_numpy(found.logits_NL) / temperature
    expected = F.cross_entropy(logits, torch.from_numpy(found.truth_NL))
    ours = negative_log_likelihood("single_label", found, temperature)
    assert ours == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@given(any_examples("multi_label"), st.floats(0.2, 5))
@settings(deadline=None, max_examples=30)
def test_likelihood_of_multi_label_is_torchs_binary_cross_entropy(found: ScoredDocuments, temperature: float):
    logits = torch.from_numpy(found.logits_NL) / temperature
    expected = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(found.truth_NL))
    ours = negative_log_likelihood("multi_label", found, temperature)
    assert ours == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("problem_type", PROBLEMS)
@pytest.mark.parametrize("hotter", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(problem_type: ProblemType, hotter: float):
    found = sampled(problem_type, 20_000, 4, hotter=hotter)
    # the maximum-likelihood estimate from 20,000 documents is within about 1 % of the truth
    assert fit_temperature(problem_type, found) == pytest.approx(hotter, rel=0.05)


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_the_fitted_temperature_makes_probabilities_true(problem_type: ProblemType):
    found = sampled(problem_type, 20_000, 4, hotter=4)
    temperature = fit_temperature(problem_type, found)
    assert temperature is not None
    assert measured_error(problem_type, found, temperature) < 0.012


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_no_temperature_of_a_grid_is_better(problem_type: ProblemType):
    found = sampled(problem_type, 60, 3, seed=4, hotter=2)
    temperature = fit_temperature(problem_type, found)
    assert temperature is not None
    best = negative_log_likelihood(problem_type, found, temperature)
    for other in np.geomspace(0.06, 19, 300).tolist():
        assert best <= negative_log_likelihood(problem_type, found, other) + 1e-9


@given(any_examples("single_label", least_labels=2))
@settings(deadline=None)
def test_a_temperature_changes_no_label(found: ScoredDocuments):
    # that keeps equal logits equal: division by the same number rounds them alike
    temperature = fit_temperature("single_label", found) or 3.0
    cold, warm = (
        Classification("single_label", tuple("abcd"[: found.truth_NL.shape[1]]), {}, t) for t in (1.0, temperature)
    )
    np.testing.assert_array_equal(cold.given(cold.scores(found.logits_NL)), warm.given(warm.scores(found.logits_NL)))


@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        ([[3.0, 0], [0, 2]], [[1.0, 0], [0, 1]]),  # all right: colder is always better
        ([[3.0, 0], [0, 2]], [[0.0, 1], [1, 0]]),  # all wrong: hotter is always better
    ],
    ids=["told apart", "all wrong"],
)
@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_where_no_temperature_is_the_best_none_is_given(
    problem_type: ProblemType, logits: list[list[float]], truth: list[list[float]]
):
    found = examples(np.array(logits) - 1, np.array(truth))
    assert fit_temperature(problem_type, found) is None
