"""Whether a probability means what it says, and the temperature that makes it so.

Guo et al., On Calibration of Modern Neural Networks (ICML 2017): probabilities are put into 15 bins of equal width, and
the expected calibration error is the distance between the mean probability and the share that came true in each bin,
weighted by what the bin holds. single_label counts one probability per document, that of its most probable label;
multi_label counts each label of each document.

Shapes: N documents, L labels, P probabilities.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from pipeline.evaluation.scored_documents import Bools, ScoredDocuments
from pipeline.tasks.classification import Floats
from pipeline.terms import ProblemType

BINS = 15
TEMPERATURES = (0.05, 20.0)  # lowest and highest that a fit gives


@dataclass(frozen=True, slots=True)
class Bin:
    """Probabilities in (low, high]. `mean` and `true` are means over them: the probability, and what came true."""

    low: float
    high: float
    count: int
    mean: float
    true: float


def bins(probability_P: Floats, true_P: Bools) -> tuple[Bin, ...]:
    """Sorts probabilities into BINS of equal width; gives those that hold some, ascending."""
    index_P = np.clip(np.ceil(probability_P * BINS).astype(int) - 1, 0, BINS - 1)
    members = [(index, index_P == index) for index in np.unique(index_P).tolist()]
    return tuple(
        Bin(
            low=index / BINS,
            high=(index + 1) / BINS,
            count=int(in_bin_P.sum()),
            mean=float(probability_P[in_bin_P].mean()),
            true=float(true_P[in_bin_P].mean()),
        )
        for index, in_bin_P in members
    )


def calibration_error(reliability: tuple[Bin, ...]) -> float:
    """Computes the expected calibration error of the bins that hold something, from 0 to 1."""
    total = sum(bin_.count for bin_ in reliability)
    return sum(bin_.count * abs(bin_.true - bin_.mean) for bin_ in reliability) / total


def predicted(problem_type: ProblemType, scores_NL: Floats, truth_NL: Floats) -> tuple[Floats, Bools]:
    """Gives the probabilities that count in calibration, and whether each came true: [P] each."""
    if problem_type == "multi_label":
        return scores_NL.ravel(), truth_NL.ravel() > 0
    best_N1 = scores_NL.argmax(1)[:, None]
    score_N, truth_N = (np.take_along_axis(a, best_N1, 1)[:, 0] for a in (scores_NL, truth_NL))
    return score_N, truth_N > 0


def negative_log_likelihood(problem_type: ProblemType, examples: ScoredDocuments, temperature: float) -> float:
    """Computes the mean over documents, and for multi_label over their labels too, at a temperature. In nats."""
    logits_NL, truth_NL = examples.logits_NL / temperature, examples.truth_NL
    if problem_type == "multi_label":
        return float((np.logaddexp(0, logits_NL) - truth_NL * logits_NL).mean())
    total_N = np.logaddexp.reduce(logits_NL, axis=1)
    return float((total_N - (truth_NL * logits_NL).sum(1)).mean())


def fit_temperature(problem_type: ProblemType, examples: ScoredDocuments) -> float | None:
    """Finds the temperature within TEMPERATURES with the least negative log-likelihood; None where there is none.

    There is none where all documents are told apart (colder is always better), or where the scores say nothing
    (hotter is). The likelihood is convex in 1 / temperature, so its slopes at both ends say which, and between them
    is one minimum.
    """
    hottest, coldest = _slopes(problem_type, examples)
    if hottest >= 0 or coldest <= 0:
        return None
    minimum = minimize_scalar(
        lambda log: negative_log_likelihood(problem_type, examples, math.exp(log)),
        bounds=tuple(math.log(bound) for bound in TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(minimum.x)


def _slopes(problem_type: ProblemType, examples: ScoredDocuments) -> tuple[float, float]:
    """The likelihood's derivatives by 1 / temperature, where that goes to 0 and to infinity."""
    logits_NL, truth_NL = examples.logits_NL, examples.truth_NL
    if problem_type == "multi_label":
        true_NL = truth_NL * logits_NL
        return float((logits_NL / 2 - true_NL).mean()), float((np.maximum(logits_NL, 0) - true_NL).mean())
    true_N = (truth_NL * logits_NL).sum(1)
    return float((logits_NL.mean(1) - true_N).mean()), float((logits_NL.max(1) - true_N).mean())
