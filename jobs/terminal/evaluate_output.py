"""What `rookery evaluate` shows: what is to be measured, then the figures."""

from rich import box
from rich.table import Column, Table
from rich.text import Text

from jobs.evaluation_outcome import EvaluationOutcome, documents_in_words
from jobs.terminal.console import console, new_grid, printable
from jobs.terminal.descriptions import corpus_notes
from pipeline.evaluation.html_page import Tile
from pipeline.evaluation.html_report import classification_tiles, regression_tiles
from pipeline.evaluation.measure import Evaluation
from pipeline.evaluation.metrics import LabelMetrics, RegressionMetrics
from pipeline.planning.plan import Plan
from pipeline.planning.splits import Split, Splits, classification, in_words

_LABELS_SHOWN = 10
_BAR_WIDTH = 16


def print_evaluation_plan(plan: Plan, splits: Splits) -> None:
    """Prints what is to be measured, and how much of it is computed already."""
    grid = new_grid()
    grid.add_row("measured", _split(splits.measured))
    if splits.fitted:
        grid.add_row("fitted", _split(splits.fitted))
    if corpus := corpus_notes(plan.corpus):
        grid.add_row("corpus", Text("; ".join(corpus)))
    task = classification(plan)
    grid.add_row(
        "checkpoint",
        Text(f"{plan.job.checkpoint.uri}  ({task.problem_type}, {len(task.labels)} outputs, {plan.scoring.dtype})"),
    )
    finished = len(plan.units) - len(plan.missing)
    grid.add_row("units", f"{len(plan.units):,}, of which {finished:,} are done")
    console.print(grid)


def _split(split: Split) -> Text:
    reasons = split.left_out
    left_out = f", {reasons.total():,} left out: {in_words(reasons)}" if reasons else ""
    return Text(printable(f"{len(split):,} documents of {split.title}{left_out}"))


def print_figures(outcome: EvaluationOutcome, notes: list[str]) -> None:
    """Prints the figures, what should be known of them, and where the files are."""
    evaluation = outcome.evaluation
    console.print(f"\n[bold green]Measured[/] {len(outcome.joined.examples):,} documents")
    if isinstance(evaluation, RegressionMetrics):
        console.print(_tiles(regression_tiles(evaluation)))
    else:
        console.print(_tiles(classification_tiles(evaluation)))
        console.print(_labels(evaluation))
    for note in notes:
        console.print(Text(printable(note)), soft_wrap=True)
    grid = new_grid()
    grid.add_row("documents", Text(printable(documents_in_words(outcome))))
    if outcome.fit:
        task = outcome.fit.task
        thresholds = f", thresholds of {len(task.thresholds):,} labels" if task.thresholds else ""
        grid.add_row("fitted", f"temperature {task.temperature:.4g}{thresholds}")
        grid.add_row("stored in", Text(str(outcome.plan.checkpoint.path / "rookery.json")))
    grid.add_row("figures", Text(outcome.uri("metrics.json")))
    grid.add_row("report", Text(outcome.uri("report.html")))
    console.print(grid)


def _tiles(shown: list[Tile]) -> Table:
    grid = new_grid()
    for tile in shown:
        before = f"[dim]{tile.before} with nothing fitted" if tile.before else ""
        grid.add_row(tile.name.lower(), tile.value, before)
    return grid


def _labels(evaluation: Evaluation) -> Table:
    """The most frequent labels."""
    numbers = ("documents", "precision", "recall", "F1")
    table = Table("label", *(Column(name, justify="right") for name in numbers), "", box=box.SIMPLE)
    labels = sorted(evaluation.metrics.labels, key=lambda label: (-label.support, label.label))
    for label in labels[:_LABELS_SHOWN]:
        table.add_row(Text(printable(label.label)), f"{label.support:,}", *_figures(label), _bar(label))
    if len(labels) > _LABELS_SHOWN:
        table.add_row(f"and {len(labels) - _LABELS_SHOWN} more labels")
    return table


def _figures(label: LabelMetrics) -> list[str]:
    values = (label.precision, label.recall, label.f1)
    return ["–" if value is None else f"{value:.3f}" for value in values]


def _bar(label: LabelMetrics) -> Text:
    return Text("█" * round(_BAR_WIDTH * (label.f1 or 0.0)), style="cyan", no_wrap=True)
