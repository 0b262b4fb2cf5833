"""What a checkpoint's decisions are worth on a split, by scikit-learn.

A figure is None where it is not defined: the precision of a label that is never given, the recall of one that no
document has. Macro averages are over the labels that some document has, so that they average the same labels whatever
is decided; a label given where none has it counts in micro F1.

Shapes: N documents, L labels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
    root_mean_squared_error,
)

from pipeline.evaluation.calibration import (
    Bin,
    bins,
    calibration_error,
    negative_log_likelihood,
    predicted,
)
from pipeline.evaluation.scored_documents import Bools, Integers, ScoredDocuments
from pipeline.tasks.classification import Classification, Floats

TOKEN_BUCKETS = (512, 1024, 2048, 4096, 8192, 16384)  # upper ends of the buckets of lengths
WINDOW_BUCKETS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """One label against all others. `support` documents have it, `given` documents get it."""

    label: str
    support: int
    given: int
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """`documents` have the label `true` and wrongly get `given`; rightly, where the two are equal.

    None is no label at all: of the document, or given to it.
    """

    true: str | None
    given: str | None
    documents: int


@dataclass(frozen=True, slots=True)
class LengthMetrics:
    """Documents of about one length. `measure`: tokens | windows."""

    measure: str
    low: int
    high: int | None
    documents: int
    accuracy: float | None = None
    macro_f1: float | None = None
    micro_f1: float | None = None
    calibration_error: float | None = None
    mean_absolute_error: float | None = None
    root_mean_squared_error: float | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of a classification. `accuracy`: the share of documents that get exactly the labels that they have."""

    documents: int
    without_label: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    macro_average_precision: float
    calibration_error: float
    negative_log_likelihood: float
    labels: tuple[LabelMetrics, ...]
    confusion: tuple[Confusion, ...]
    reliability: tuple[Bin, ...]
    lengths: tuple[LengthMetrics, ...]


@dataclass(frozen=True, slots=True)
class RegressionMetrics:
    """Of a regression, errors in the unit of its values.

    `r2` is None where all documents have one value, `spearman` where all predictions have, too.
    """

    documents: int
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float | None
    spearman: float | None
    lengths: tuple[LengthMetrics, ...]


def measure_classification(examples: ScoredDocuments, task: Classification) -> Metrics:
    """Computes all figures of a classification; `examples` must have passed check_measurable."""
    scores_NL, truth_NL = task.scores(examples.logits_NL), examples.truth_NL
    given_NL = task.given(scores_NL)
    labels = _labels(task, scores_NL, truth_NL, given_NL)
    supported = [label for label in labels if label.support]
    reliability = bins(*predicted(task.problem_type, scores_NL, truth_NL))
    return Metrics(
        documents=len(examples),
        without_label=int((~truth_NL.any(1)).sum()),
        accuracy=_accuracy(truth_NL, given_NL),
        macro_f1=macro_f1(truth_NL, given_NL),
        micro_f1=_micro_f1(truth_NL, given_NL),
        macro_average_precision=float(np.mean([label.average_precision for label in supported])),
        calibration_error=calibration_error(reliability),
        negative_log_likelihood=negative_log_likelihood(task.problem_type, examples, task.temperature),
        labels=labels,
        confusion=tuple(_confusion(task.labels, truth_NL > 0, given_NL)),
        reliability=reliability,
        lengths=tuple(_by_length(examples, task)),
    )


def measure_regression(examples: ScoredDocuments) -> RegressionMetrics:
    """Computes all figures of a regression's first output; `examples` must have passed check_measurable."""
    truth_N, value_N = examples.truth_NL[:, 0], examples.logits_NL[:, 0]
    both_differ = np.ptp(truth_N) > 0 and np.ptp(value_N) > 0
    return RegressionMetrics(
        documents=len(examples),
        mean_absolute_error=float(mean_absolute_error(truth_N, value_N)),
        root_mean_squared_error=float(root_mean_squared_error(truth_N, value_N)),
        r2=float(r2_score(truth_N, value_N)) if np.ptp(truth_N) > 0 else None,
        spearman=float(spearmanr(truth_N, value_N).statistic) if both_differ else None,
        lengths=tuple(_regression_by_length(examples)),
    )


def macro_f1(truth_NL: Floats, given_NL: Bools) -> float:
    """Averages the F1 of the labels that some document has; NaN if none has any."""
    _, _, f1_L = _per_label(truth_NL, given_NL)
    supported_L = truth_NL.any(0)
    return float(f1_L[supported_L].mean()) if supported_L.any() else math.nan


def _accuracy(truth_NL: Floats, given_NL: Bools) -> float:
    return float(accuracy_score(truth_NL > 0, given_NL))


def _micro_f1(truth_NL: Floats, given_NL: Bools) -> float:
    return float(f1_score(truth_NL.ravel() > 0, given_NL.ravel(), zero_division=np.nan))


def _per_label(truth_NL: Floats, given_NL: Bools) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each label; NaN where not defined.

    scikit-learn takes one column for two classes, and not for one label: a second one, always right, keeps it from
    that.
    """
    right_N1 = np.ones((len(truth_NL), 1), bool)
    precision_L, recall_L, f1_L, _ = precision_recall_fscore_support(
        np.c_[truth_NL > 0, right_N1],
        np.c_[given_NL, right_N1],
        average=None,
        zero_division=np.nan,
    )
    return precision_L[:-1], recall_L[:-1], f1_L[:-1]


def _labels(task: Classification, scores_NL: Floats, truth_NL: Floats, given_NL: Bools) -> tuple[LabelMetrics, ...]:
    precision_L, recall_L, f1_L = _per_label(truth_NL, given_NL)
    support_L = truth_NL.sum(0)
    return tuple(
        LabelMetrics(
            label=label,
            support=int(support_L[i]),
            given=int(given_NL[:, i].sum()),
            threshold=task.threshold(label),
            precision=_defined(precision_L[i]),
            recall=_defined(recall_L[i]),
            f1=_defined(f1_L[i]),
            average_precision=float(average_precision_score(truth_NL[:, i] > 0, scores_NL[:, i]))
            if support_L[i]
            else None,
        )
        for i, label in enumerate(task.labels)
    )


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _confusion(labels: tuple[str, ...], truth_NL: Bools, given_NL: Bools) -> Iterator[Confusion]:
    """Off the diagonal a given label counts only where the document does not have it: it may have several."""
    names = [*labels, None]
    true_NM = np.c_[truth_NL, ~truth_NL.any(1)].astype(np.int64)
    given_NM = np.c_[given_NL, ~given_NL.any(1)].astype(np.int64)
    wrong_MM = true_NM.T @ (given_NM * (1 - true_NM))
    right_M = (true_NM * given_NM).sum(0)
    counts_MM = wrong_MM + np.diag(right_M)
    for row, column in np.argwhere(counts_MM).tolist():
        yield Confusion(names[row], names[column], int(counts_MM[row, column]))


def _by_length(examples: ScoredDocuments, task: Classification) -> Iterator[LengthMetrics]:
    for name, low, high, chosen_N in _lengths(examples):
        part = examples.where(chosen_N)
        scores_NL = task.scores(part.logits_NL)
        given_NL = task.given(scores_NL)
        yield LengthMetrics(
            measure=name,
            low=low,
            high=high,
            documents=len(part),
            accuracy=_accuracy(part.truth_NL, given_NL),
            macro_f1=_defined(macro_f1(part.truth_NL, given_NL)),
            micro_f1=_defined(_micro_f1(part.truth_NL, given_NL)),
            calibration_error=calibration_error(bins(*predicted(task.problem_type, scores_NL, part.truth_NL))),
        )


def _regression_by_length(examples: ScoredDocuments) -> Iterator[LengthMetrics]:
    for name, low, high, chosen_N in _lengths(examples):
        part = examples.where(chosen_N)
        truth_N, value_N = part.truth_NL[:, 0], part.logits_NL[:, 0]
        yield LengthMetrics(
            measure=name,
            low=low,
            high=high,
            documents=len(part),
            mean_absolute_error=float(mean_absolute_error(truth_N, value_N)),
            root_mean_squared_error=float(root_mean_squared_error(truth_N, value_N)),
        )


def _lengths(examples: ScoredDocuments) -> Iterator[tuple[str, int, int | None, Bools]]:
    """Buckets that hold a document: what is measured, its bounds, both included, and which documents they are."""
    yield from _buckets("tokens", examples.tokens_N, TOKEN_BUCKETS)
    yield from _buckets("windows", examples.windows_N, WINDOW_BUCKETS)


def _buckets(name: str, length_N: Integers, ends: tuple[int, ...]) -> Iterator[tuple[str, int, int | None, Bools]]:
    index_N = np.searchsorted(ends, length_N, side="left")
    for index in np.unique(index_N).tolist():
        low = ends[index - 1] + 1 if index else 1
        yield name, low, ends[index] if index < len(ends) else None, index_N == index
