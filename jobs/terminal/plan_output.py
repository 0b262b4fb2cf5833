"""What `rookery plan` shows."""

from collections.abc import Callable, Iterator
from pathlib import Path

from rich import box
from rich.table import Column, Table
from rich.text import Text

from jobs.terminal.console import byte_count, console, file_count, new_grid, printable
from jobs.terminal.label_progress import duration, short
from pipeline.planning.sample_totals import Estimated
from pipeline.runs.run_estimate import RunEstimate

BAR_COLUMNS = 30
SHORT_BITS = 8  # lengths of fewer bits, below 256 tokens, are one row

Figure = tuple[str, Estimated, Callable[[float], str]]


def print_estimate(estimate: RunEstimate, job_file: Path) -> None:
    """Prints what is missing and what it takes, what this was made of, and what should be looked at before a run."""
    _print_grid(_inputs(estimate))
    if estimate.missing:
        console.print(_figures(estimate))
        console.print(_lengths(estimate.lengths))
        console.print()
        _print_grid(_basis(estimate))
    for kind, message in estimate.warnings:
        console.print(Text.assemble((f"{kind.replace('_', ' ')}: ", "bold yellow"), printable(message)))
    command = f"`rookery label --config {printable(str(job_file))}`"
    line = ("Nothing was started: ", f"{command} does it.")
    if not estimate.missing:
        line = ("No unit is missing: ", f"{command} computes nothing.")
    console.print(Text.assemble((line[0], "green"), line[1]), soft_wrap=True)


def _print_grid(rows: Iterator[tuple[str, str]]) -> None:
    grid = new_grid()
    for name, value in rows:
        grid.add_row(f"{name:<10}", Text(printable(value)))
    console.print(grid)


def _inputs(estimate: RunEstimate) -> Iterator[tuple[str, str]]:
    yield "corpus", f"{file_count(estimate.files)}, {byte_count(estimate.stored_bytes)}, with units that are missing"
    if estimate.done:
        yield "", f"{estimate.done:,} units are done, and not counted here"
    yield "checkpoint", f"{estimate.checkpoint}  ({estimate.dtype})"
    yield "table", estimate.table


def _figures(estimate: RunEstimate) -> Table:
    shown = Table(
        Column("", style="bold", no_wrap=True),
        Column("estimate", justify="right", no_wrap=True),
        Column("between", justify="right", no_wrap=True),
        box=box.SIMPLE,
        padding=(0, 2),
        pad_edge=False,
    )
    for name, figure, written in _rows(estimate):
        between = f"{written(figure.low)} and {written(figure.high)}" if figure.high > figure.low else "exact"
        shown.add_row(name, written(figure.value), between)
    shown.add_row("units", f"{estimate.units:,}")
    if estimate.storage_bytes is not None:
        shown.add_row("storage", byte_count(estimate.storage_bytes))
    return shown


def _rows(estimate: RunEstimate) -> Iterator[Figure]:
    computed = estimate.tokens.value + estimate.padding.value
    yield "documents", estimate.documents, _count
    if estimate.errors.high:
        yield "errors", estimate.errors, _count
    yield "tokens", estimate.tokens, short
    yield "windows", estimate.windows, _count
    yield "padding", estimate.padding.times(1 / max(1.0, computed)), lambda share: f"{share:.1%}"
    if estimate.actor_hours and estimate.seconds:
        yield "actor-hours", estimate.actor_hours, _hours
        actors = f"{estimate.actors:,} actor{'' if estimate.actors == 1 else 's'}"
        yield f"time on {actors}", estimate.seconds, duration
    if estimate.usd and estimate.usd_per_billion_tokens:
        yield "cost", estimate.usd, _dollars
        yield "per 10⁹ tokens", estimate.usd_per_billion_tokens, _dollars


def _count(count: float) -> str:
    return f"{count:,.0f}"


def _hours(hours: float) -> str:
    return f"{hours:,.2f}" if hours >= 1 else f"{hours:.4f}"


def _dollars(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}"


def _lengths(lengths: list[int]) -> Table:
    """Documents by the tokens that they have."""
    by_bits = dict(enumerate(lengths))
    short_ones = sum(count for bits, count in by_bits.items() if bits <= SHORT_BITS)
    rows = [(f"up to {2**SHORT_BITS - 1}", short_ones)]
    rows += [(f"{2 ** (bits - 1):,} to {2**bits - 1:,}", n) for bits, n in by_bits.items() if bits > SHORT_BITS]
    most = max([count for _, count in rows], default=0)
    shown = Table.grid(padding=(0, 2))
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(justify="right", no_wrap=True)
    shown.add_column(justify="right", no_wrap=True)
    for number, (name, count) in enumerate(rows):
        bar = "█" * max(1, round(BAR_COLUMNS * count / most)) if count else ""
        shown.add_row("" if number else "tokens", name, f"{count:,}", Text(bar, style="cyan"))
    return shown


def _basis(estimate: RunEstimate) -> Iterator[tuple[str, str]]:
    if sample := estimate.sample:
        read = f"{sample.documents:,} documents, {short(sample.tokens)} tokens, in {duration(sample.seconds)}"
        yield "sample", f"{read}: all that are missing" if sample.is_whole else read
        if sample.start_share:
            yield "", f"{sample.start_share:.0%} of it stands for files that can only be entered at their beginning"
    if estimate.tokens_per_second is None:
        yield "speed", "not known: no time and no cost can be told"
        return
    speed, half = estimate.tokens_per_second, estimate.tokens_per_second.relative_half_width
    source = f"by run {estimate.speed_run} (--measure: anew)" if estimate.speed_run else "measured now"
    yield "speed", f"{_count(speed.value)} tokens/s ± {half:.0%} of one actor on {estimate.device}, {source}"
    yield "", f"{duration(estimate.start_seconds or 0)} until an actor has loaded the checkpoint"
    if estimate.price is None:
        yield "price", "not set: `price`, the dollars for an hour of one actor, gives the cost"
