"""What `rookery label` and `rookery evaluate` show while units are computed: a panel, or a line every 30 s in a log."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.terminal.console import error_count, printable
from jobs.terminal.run_log import run_console, run_log
from pipeline.runs.progress import Figures, Progress
from pipeline.ticking import every

LINE_SECONDS = 30.0  # between progress lines where there is no terminal
REFRESHES_PER_SECOND = 2
PANEL_BAR_WIDTH = 40


class LabelProgress:
    """How far a run is, in each of its tables, as long as `shown` lasts."""

    def __init__(self, progress: Progress, table_uris: Sequence[str]) -> None:
        self._progress, self._table_uris = progress, table_uris

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Shows progress while the block runs, whether units end in it or not."""
        if run_console.is_terminal and run_log.format == "text":
            live = Live(
                get_renderable=self.panel,
                console=run_console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
            )
            with live:
                yield
        else:
            with every(LINE_SECONDS, self.tell):
                yield
            self.tell()

    def panel(self) -> RenderableType:
        """Draws the panel of this moment."""
        return Group(*(self._table(number, uri) for number, uri in enumerate(self._table_uris)))

    def tell(self) -> None:
        """Tells in a line for each table how far it is, or in an event for machines."""
        for number, uri in enumerate(self._table_uris):
            figures = self._progress.figures(number)
            run_log.event("progress", table=uri, **asdict(figures))
            name = f"{uri}: " if len(self._table_uris) > 1 else ""
            run_console.print(Text(f"{printable(name)}{progress_line(figures)}"), soft_wrap=True)

    def _table(self, number: int, uri: str) -> RenderableType:
        figures = self._progress.figures(number)
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=1, completed=figures.share or 0, width=PANEL_BAR_WIDTH, pulse=not figures.tokens),
            Text(f"{figures.share:.0%}" if figures.share is not None else "", "bold"),
            Text(time_left(figures)),
        )
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        if len(self._table_uris) > 1:
            grid.add_row(Text(printable(uri), "bold"), "")
        grid.add_row("tokens", f"{_tokens(figures)}, {_rates(figures)}")
        grid.add_row("units", f"{_units(figures)}; {_documents(figures)}; {error_count(figures.errors)}")
        grid.add_row("actors", _actors(figures))
        if cost := _cost(figures):
            grid.add_row("cost", cost)
        return Group(bar, grid)


def progress_line(figures: Figures) -> str:
    """Writes how far a run is in one line: what is done, of how much, how fast, until when, on what, at what cost."""
    parts = [
        f"{figures.share:.0%} done" if figures.share is not None else "",
        _tokens(figures),
        _rates(figures),
        time_left(figures),
        _units(figures),
        _documents(figures),
        error_count(figures.errors),
        _actors(figures),
        _cost(figures),
    ]
    return "; ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Writes a time as people say it: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def time_left(figures: Figures) -> str:
    """Writes how long a run will still take, as an estimate; how long it takes by now, where nobody knows yet."""
    if figures.seconds_left is None:
        return f"{duration(figures.seconds)} so far, no unit is done yet"
    return f"about {duration(figures.seconds_left)} left" if figures.seconds_left else duration(figures.seconds)


def _tokens(figures: Figures) -> str:
    total = figures.tokens_total
    of = f" of about {short(total)}" if total and total > figures.tokens else ""
    return f"{short(figures.tokens)}{of} tokens"


def _rates(figures: Figures) -> str:
    return f"{figures.tokens_per_second_now:,.0f} tokens/s now, {figures.tokens_per_second:,.0f} overall"


def _units(figures: Figures) -> str:
    of = "" if figures.units_total is None else f" of {figures.units_total:,}"
    return f"{figures.units:,}{of} units"


def _documents(figures: Figures) -> str:
    of = "" if figures.documents_total is None else f" of {figures.documents_total:,}"
    return f"{figures.documents:,}{of} documents"


def _actors(figures: Figures) -> str:
    if not figures.actors:
        return "no actor has finished a unit yet"
    actors = f"{figures.actors:,} actor{'' if figures.actors == 1 else 's'}"
    padding = f"padding {figures.padding_share:.1%}"
    if figures.busy_share is None:
        return f"{actors}, {padding}"
    return f"{actors}, {figures.busy_share:.0%} busy, {1 - figures.busy_share:.0%} starved, {padding}"


def _cost(figures: Figures) -> str:
    return "" if figures.usd is None else f"${figures.usd:,.2f} so far, {figures.actor_hours:,.2f} actor-hours"


def short(count: float) -> str:
    """Writes a large count in three digits: `812`, `45.1 k`, `1.23 M`, `5.60 G`."""
    for unit in ("", " k", " M", " G"):
        if count < 999.5 or unit == " G":
            return f"{count:,.0f}" if not unit else f"{count:#.3g}".rstrip(".") + unit
        count /= 1000
    raise AssertionError("unreachable")
