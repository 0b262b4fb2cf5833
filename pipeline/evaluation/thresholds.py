"""The threshold of each label that gives it the best F1.

Shapes: N documents, L labels.
"""

import numpy as np

from pipeline.evaluation.scored_documents import Bools
from pipeline.tasks.classification import Floats

DEFAULT = 0.5


def fit_thresholds(scores_NL: Floats, truth_NL: Floats) -> list[float | None]:
    """Finds for each label the threshold with the best F1; None for a label that no document has."""
    return [
        _best(scores_N, truth_N > 0) if truth_N.any() else None
        for scores_N, truth_N in zip(scores_NL.T, truth_NL.T, strict=True)
    ]


def _best(scores_N: Floats, truth_N: Bools) -> float:
    """Of 0.5 and the midpoints between neighbouring scores the best; of equals the nearest to 0.5."""
    levels = np.unique(scores_N)
    middles = (levels[1:] + levels[:-1]) / 2
    middles = np.where(middles > levels[:-1], middles, levels[1:])  # between neighbours there is no other float
    candidates_C = np.concatenate([[DEFAULT, levels[0] / 2], middles])
    # documents at or above each candidate, and how many of them have the label
    order = np.argsort(scores_N)
    first_C = np.searchsorted(scores_N[order], candidates_C, side="left")
    above_C = len(scores_N) - first_C
    right_C = truth_N.sum() - np.concatenate([[0], np.cumsum(truth_N[order])])[first_C]
    f1_C = 2 * right_C / (above_C + truth_N.sum())
    best_C = candidates_C[f1_C == f1_C.max()]
    return float(best_C[np.abs(best_C - DEFAULT).argmin()])
