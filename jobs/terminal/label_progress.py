"""What `rookery label` and `rookery evaluate` show while units are computed, and what that came to."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from jobs.terminal.console import console, error_count, printable
from pipeline.planning.plan import Plan

LOG_EVERY_S = 10  # between progress lines where there is no terminal


@dataclass(slots=True)
class LabelledWork:
    """What this run did. `taken_over`: documents of it whose text had scores."""

    units: int = 0
    documents: int = 0
    errors: int = 0
    taken_over: int = 0
    windows: int = 0
    tokens: int = 0
    seconds: float = 0.0


class DoneWork(Protocol):
    """A unit that is done or, if `incomplete`, some of its documents."""

    @property
    def documents(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def taken_over(self) -> int: ...
    @property
    def windows(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def incomplete(self) -> bool: ...


class LabelProgress:
    """Documents done so far: a bar on a terminal, a line now and then in a log."""

    def __init__(self, plan: Plan) -> None:
        self.work = LabelledWork()
        self._started = time.perf_counter()
        self._last_line = self._started
        self._units = None if plan.streams else len(plan.missing)  # who knows, before they are cut
        columns = (
            "units",
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("units", total=self._units, rates="starting Ray …")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def tell(self, line: str) -> None:
        """Prints a line above the bar, or in the log."""
        console.print(Text(printable(line), style="yellow"), soft_wrap=True)

    def add(self, done: DoneWork) -> None:
        """Counts what is done of one more unit, and shows what all come to."""
        work, now = self.work, time.perf_counter()
        work.units += not done.incomplete
        work.documents += done.documents
        work.errors += done.errors
        work.taken_over += done.taken_over
        work.windows += done.windows
        work.tokens += done.tokens
        work.seconds = now - self._started
        speed = work.tokens / (now - self._started)
        rates = f"{work.documents:,} documents, {speed:,.0f} tokens/s, {error_count(work.errors)}"
        self._bar.update(self._task, advance=int(not done.incomplete), rates=rates)
        if not console.is_terminal and (now - self._last_line > LOG_EVERY_S or work.units == self._units):
            self._last_line = now
            units = f"{work.units:,}" + (f"/{self._units:,}" if self._units else "")
            console.print(f"{units} units, {rates}, {now - self._started:.0f} s", soft_wrap=True)
