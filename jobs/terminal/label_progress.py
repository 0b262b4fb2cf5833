"""What `rookery label` and `rookery evaluate` show while units are computed, and what that came to."""

import time
from collections.abc import Sequence
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
    """A unit that is done or, if `incomplete`, some of its documents. `table`: its number among those of the run."""

    @property
    def table(self) -> int: ...
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
    """Documents done so far, in each table of a run: a bar on a terminal, a line now and then in a log."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.works = [LabelledWork() for _ in plans]
        self._started = time.perf_counter()
        self._last_line = self._started
        self._units = [None if plan.streams else len(plan.missing) for plan in plans]  # who knows, before they are cut
        self._names = [f"{plan.job.table.uri}: " if len(plans) > 1 else "" for plan in plans]
        columns = (
            TextColumn("{task.description}units", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks = [
            self._bar.add_task(printable(name), total=units, rates="starting Ray …")
            for name, units in zip(self._names, self._units, strict=True)
        ]

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
        work, now = self.works[done.table], time.perf_counter()
        work.units += not done.incomplete
        work.documents += done.documents
        work.errors += done.errors
        work.taken_over += done.taken_over
        work.windows += done.windows
        work.tokens += done.tokens
        work.seconds = now - self._started
        self._bar.update(self._tasks[done.table], advance=int(not done.incomplete), rates=_rates(work))
        is_last = [work.units for work in self.works] == self._units
        if not console.is_terminal and (now - self._last_line > LOG_EVERY_S or is_last):
            self._last_line = now
            for name, work, units in zip(self._names, self.works, self._units, strict=True):
                of = f"{work.units:,}" + (f"/{units:,}" if units else "")
                line = f"{name}{of} units, {_rates(work)}, {now - self._started:.0f} s"
                console.print(Text(printable(line)), soft_wrap=True)


def _rates(work: LabelledWork) -> str:
    speed = work.tokens / work.seconds if work.seconds else 0
    return f"{work.documents:,} documents, {speed:,.0f} tokens/s, {error_count(work.errors)}"
