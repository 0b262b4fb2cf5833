"""All figures of one split: of what the checkpoint decides, and of its scores with nothing fitted.

Shapes: N documents, L labels.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve

from pipeline.evaluation.fit import without_fit
from pipeline.evaluation.metrics import Metrics, measure_classification
from pipeline.evaluation.scored_documents import ScoredDocuments
from pipeline.tasks.classification import Classification, Floats

CURVE_POINTS = 200  # more than a chart can show


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision over recall, recall ascending."""

    label: str | None  # None: all labels' scores together
    recall: tuple[float, ...]
    precision: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`plain`: with temperature 1 and thresholds of 0.5."""

    task: Classification
    metrics: Metrics
    plain: Metrics
    curves: tuple[Curve, ...]


def evaluate_classification(task: Classification, examples: ScoredDocuments) -> Evaluation:
    """Measures a classification, not a regression, as it decides and with nothing fitted, and draws its curves.

    `examples` must have passed check_measurable.
    """
    scores_NL, truth_NL = task.scores(examples.logits_NL), examples.truth_NL
    curves = [_curve(None, scores_NL.ravel(), truth_NL.ravel())]
    for label, score_N, truth_N in zip(task.labels, scores_NL.T, truth_NL.T, strict=True):
        if truth_N.any():
            curves.append(_curve(label, score_N, truth_N))
    return Evaluation(
        task, measure_classification(examples, task), measure_classification(examples, without_fit(task)), tuple(curves)
    )


def _curve(label: str | None, scores: Floats, truth: Floats) -> Curve:
    precision, recall, _ = precision_recall_curve(truth > 0, scores, drop_intermediate=True)
    chosen = np.unique(np.linspace(0, len(recall) - 1, CURVE_POINTS).astype(int))[::-1]
    return Curve(label, tuple(recall[chosen].tolist()), tuple(precision[chosen].tolist()))
