"""The report of an evaluation: one HTML file, for a browser, a mail or a printer."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from pipeline.evaluation import charts
from pipeline.evaluation.html_page import Heading, Tile, figure, render_page, stored_template
from pipeline.evaluation.measure import Evaluation
from pipeline.evaluation.metrics import LengthMetrics, Metrics, RegressionMetrics
from pipeline.evaluation.scored_documents import ScoredDocuments

CURVES = 40  # small ones, most frequent labels first
DOTS = 3_000


def classification_report(heading: Heading, evaluation: Evaluation) -> str:
    """Writes the page of a single_label or multi_label evaluation, as HTML."""
    metrics = evaluation.metrics
    labels = sorted(metrics.labels, key=lambda label: (-label.support, label.label))
    shown = [label.label for label in labels[: charts.MATRIX_LABELS]]
    support: dict[str | None, int] = {label.label: label.support for label in labels}
    support[None] = metrics.without_label
    return _render(
        heading,
        several=evaluation.task.problem_type == "multi_label",
        thresholds=any(label.threshold for label in labels),
        tiles=classification_tiles(evaluation),
        labels=labels,
        matrix=charts.confusion_matrix(metrics.confusion, shown, support),
        matrix_left_out=len(labels) - len(shown),
        calibrations=list(_calibrations(evaluation)),
        curves=list(_curves(evaluation)),
        lengths=_lengths(metrics.lengths),
    )


def regression_report(heading: Heading, metrics: RegressionMetrics, examples: ScoredDocuments) -> str:
    """Writes the page of a regression's evaluation, as HTML."""
    some = slice(None, None, -(-len(examples) // DOTS))
    truth, values = examples.truth_NL[some, 0].tolist(), examples.logits_NL[some, 0].tolist()
    return _render(
        heading,
        tiles=regression_tiles(metrics),
        scatter=charts.scatter(truth, values),
        lengths=_lengths(metrics.lengths),
    )


def classification_tiles(evaluation: Evaluation) -> list[Tile]:
    """Gives the headline figures of a classification, each with what it is without anything fitted."""
    several = evaluation.task.problem_type == "multi_label"
    names = {
        "accuracy": "All labels right" if several else "Accuracy",
        "macro_f1": "Macro F1",
        "micro_f1": "Micro F1",
        "macro_average_precision": "Average precision",
        "calibration_error": "Calibration error",
    }
    now, before = evaluation.metrics, evaluation.plain
    return [Tile(name, figure(getattr(now, field)), _changed(now, before, field)) for field, name in names.items()]


def regression_tiles(metrics: RegressionMetrics) -> list[Tile]:
    """Gives the headline figures of a regression."""
    return [
        Tile("Mean absolute error", f"{metrics.mean_absolute_error:.4g}"),
        Tile("Root mean squared error", f"{metrics.root_mean_squared_error:.4g}"),
        Tile("R²", figure(metrics.r2)),
        Tile("Spearman", figure(metrics.spearman)),
    ]


def length_name(bucket: LengthMetrics) -> str:
    """Says a bucket's bounds in words."""
    if bucket.high is None:
        return f"{bucket.low:,} or more"
    return f"{bucket.high:,}" if bucket.low == bucket.high else f"{bucket.low:,} – {bucket.high:,}"


def _changed(now: Metrics, before: Metrics, field: str) -> str | None:
    old = figure(getattr(before, field))
    return None if old == figure(getattr(now, field)) else old


def _calibrations(evaluation: Evaluation) -> Iterator[tuple[str, Markup]]:
    before, now = evaluation.plain, evaluation.metrics
    yield "As the checkpoint computes them", _reliability(before)
    if evaluation.task.temperature != 1.0:
        yield f"Divided by the temperature {evaluation.task.temperature:.3f}", _reliability(now)


def _reliability(metrics: Metrics) -> Markup:
    return charts.reliability(metrics.reliability, metrics.calibration_error)


def _curves(evaluation: Evaluation) -> Iterator[tuple[str, str, Markup]]:
    """Title, what is below it, chart: all labels together, then the most frequent ones."""
    by_label = {label.label: label for label in evaluation.metrics.labels}
    first, *others = evaluation.curves
    yield (
        "All together",
        f"{evaluation.metrics.documents:,} documents",
        charts.precision_recall(first, None),
    )
    others.sort(key=lambda curve: -by_label[str(curve.label)].support)
    for curve in others[:CURVES]:
        label = by_label[str(curve.label)]
        at = None
        if label.recall is not None and label.precision is not None:
            at = label.recall, label.precision
        below = f"AP {figure(label.average_precision)} · {label.support:,} documents"
        yield label.label, below, charts.precision_recall(curve, at)


def _lengths(buckets: Sequence[LengthMetrics]) -> dict[str, list[LengthMetrics]]:
    return {name: [bucket for bucket in buckets if bucket.measure == name] for name in ("tokens", "windows")}


def _render(heading: Heading, **parts: object) -> str:
    return render_page(stored_template("report.html"), heading=heading, bounds=length_name, **parts)
