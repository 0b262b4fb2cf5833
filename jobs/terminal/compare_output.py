"""What `rookery compare` shows: the summary first, then labels, flips and partitions."""

from rich import box
from rich.table import Column, Table
from rich.text import Text

from jobs.terminal.console import console, new_grid, printable
from pipeline.tables.comparison import Comparison, Side

ROWS_SHOWN = 10  # rows of each table; the JSON has all


def print_comparison(comparison: Comparison) -> None:
    """Prints a comparison of two snapshots."""
    grid = new_grid()
    grid.add_row("before", Text(_side(comparison.before)))
    grid.add_row("after", Text(_side(comparison.after)))
    only = f"{comparison.only_before:,} only before, {comparison.only_after:,} only after"
    grid.add_row("documents", f"{comparison.both:,} in both ({comparison.coverage:.2%} of all); {only}")
    if comparison.agreement is not None:
        flips = sum(flip.documents for flip in comparison.flips)
        kappa = "" if comparison.kappa is None else f", kappa {comparison.kappa:.4f}"
        grid.add_row("agreement", f"{comparison.agreement:.4%}{kappa}; {flips:,} have another label")
    if scores := comparison.scores:
        means = f"mean {scores.mean_before:.4f} before, {scores.mean_after:.4f} after"
        grid.add_row(
            "scores", f"{means}; they moved by {scores.mean_absolute_change:.4f} on average, PSI {scores.psi:.4f}"
        )
    grid.add_row("labels", f"PSI {comparison.label_psi:.4f} of their shares")
    console.print(grid)
    for table in (_labels(comparison), _flips(comparison), _partitions(comparison), _rows(comparison)):
        if table.row_count:
            console.print(table)


def _side(side: Side) -> str:
    checkpoint = side.checkpoint.rstrip("/").rpartition("/")[2]
    return printable(
        f"{side.table_uri} {side.name}: {side.predictions:,} predictions, {side.errors:,} errors, "
        f"checkpoint {checkpoint}, keys {side.scoring_key} {side.decision_key}"
    )


def _labels(comparison: Comparison) -> Table:
    table = Table("label", *_numbers("before", "after", "share", "change"), box=box.SIMPLE)
    for share in comparison.labels[:ROWS_SHOWN]:
        numbers = f"{share.before:,}", f"{share.after:,}", f"{share.share_after:.2%}"
        table.add_row(Text(printable(share.label)), *numbers, f"{share.share_after - share.share_before:+.2%}")
    _add_rest(table, len(comparison.labels), "labels")
    return table


def _flips(comparison: Comparison) -> Table:
    table = Table("from", "to", *_numbers("documents"), "such as", box=box.SIMPLE)
    for flip in comparison.flips[:ROWS_SHOWN]:
        names = [Text(printable(label) if label else "(no label)") for label in (flip.before, flip.after)]
        table.add_row(*names, f"{flip.documents:,}", Text(printable(", ".join(flip.examples))))
    _add_rest(table, len(comparison.flips), "pairs of labels")
    return table


def _partitions(comparison: Comparison) -> Table:
    table = Table("partition", *_numbers("documents", "agreement", "PSI"), box=box.SIMPLE)
    for change in comparison.partitions[:ROWS_SHOWN]:
        name = ", ".join(f"{key}={value}" for key, value in change.partition.items())
        numbers = f"{change.documents:,}", f"{change.agreement:.2%}", f"{change.label_psi:.4f}"
        table.add_row(Text(printable(name)), *numbers)
    _add_rest(table, len(comparison.partitions), "partitions")
    return table


def _rows(comparison: Comparison) -> Table:
    """All of them: somebody has asked for rows."""
    table = Table("id", "from", "to", *_numbers("score before", "after"), box=box.SIMPLE)
    for row in comparison.rows:
        names = [Text(printable(name) if name else "(no label)") for name in (row.before, row.after)]
        scores = ["" if score is None else f"{score:.4f}" for score in (row.score_before, row.score_after)]
        table.add_row(Text(printable(row.id)), *names, *scores)
    return table


def _numbers(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]


def _add_rest(table: Table, rows: int, what: str) -> None:
    if rows > ROWS_SHOWN:
        table.add_row(f"and {rows - ROWS_SHOWN:,} more {what}; --json has them all")
