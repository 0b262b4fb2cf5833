"""What the person at the terminal sees: the plan, progress, the summary. In a log file, plain lines."""

import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress as Bar,
    TextColumn,
    TimeElapsedColumn,
)
from rich.status import Status
from rich.table import Column, Table
from rich.text import Text

from pipeline.corpus.files import Corpus
from pipeline.dataflow.plan import Plan
from pipeline.tables.snapshots import Manifest

LOG_EVERY_S = 10  # between progress lines where there is no terminal
LABELS_SHOWN = 10
LEFT_OUT_SHOWN = 3
FAILURES_SHOWN = 20
BAR_WIDTH = 24

console = Console(highlight=False)


@dataclass(slots=True)
class Work:
    """What this run computed."""

    units: int = 0
    documents: int = 0
    errors: int = 0
    windows: int = 0
    tokens: int = 0
    seconds: float = 0.0


def plan(plan: Plan, current: Manifest | None) -> None:
    """The plan: files, units, documents where known, what is done already."""
    corpus = plan.corpus
    n_bytes = sum(file.stored.size for file in corpus.files)
    grid = new_grid()
    grid.add_row(
        "corpus",
        Text("; ".join([f"{files(len(corpus.files))}, {_bytes(n_bytes)}, {_documents(plan)}", *corpus_notes(corpus)])),
    )  # fmt: skip
    grid.add_row(
        "checkpoint",
        f"{plan.job.checkpoint.uri}  ({plan.checkpoint.head.task.replace('_', ' ')}, {plan.scoring.dtype})",
    )
    grid.add_row("table", plan.job.table.uri)
    grid.add_row("units", _units(plan))
    grid.add_row("keys", f"scoring {plan.scoring.key}, decision {plan.task.key}")
    if plan.limit is not None:
        grid.add_row(
            "limit", f"first {plan.limit:,} documents: the snapshot will be marked as partial"
        )
    state = (
        f"snapshot {current.snapshot} is current" if current else "a new snapshot will be published"
    )
    grid.add_row("table state", state)
    console.print(grid)


def corpus_notes(corpus: Corpus) -> list[str]:
    """What a folder held beside the corpus, and which version of a table was read."""
    notes = [f"version {version} of the Delta table" for _, version in corpus.delta_tables]
    if corpus.left_out:
        names = [printable(uri.rpartition("/")[2]) for uri in corpus.left_out[:LEFT_OUT_SHOWN]]
        more = ["…"] if len(corpus.left_out) > len(names) else []
        notes.append(f"{files(len(corpus.left_out))} left out: {', '.join([*names, *more])}")
    return notes


def up_to_date(plan: Plan, current: Manifest) -> None:
    """A run with nothing to do."""
    counts = current.counts
    console.print(
        f"[green]Nothing to do:[/] snapshot {current.snapshot} already holds these "
        f"{counts['documents']:,} documents ({_errors(counts['errors'])}). Nothing was published.",
        soft_wrap=True,
    )


def summary(plan: Plan, manifest: Manifest, work: Work, seconds: float) -> None:
    """What was done and where it is."""
    counts = manifest.counts
    added = sum(file.state == "added" for file in manifest.files)
    grid = new_grid()
    partial = " (partial)" if manifest.partial else ""
    grid.add_row(
        "snapshot",
        f"{manifest.snapshot}{partial}: files: {added} added, {len(manifest.files) - added} kept, {len(manifest.removed)} removed",
    )
    grid.add_row(
        "documents",
        f"{counts['documents']:,}: {counts['predictions']:,} predictions, {_errors(counts['errors'])}",
    )
    grid.add_row(
        "this run",
        f"{work.documents:,} documents, {work.tokens:,} tokens in {work.windows:,} windows, {work.units} units",
    )
    if work.tokens:
        rates = f"{work.tokens / work.seconds:,.0f} tokens/s, {work.documents / work.seconds:,.1f} documents/s"
        grid.add_row("speed", f"{rates} over {work.seconds:.1f} s, Ray's start included")
    if said := corpus_notes(plan.corpus):
        grid.add_row("corpus", Text("; ".join(said)))
    grid.add_row("time", f"{seconds:.1f} s in all")
    grid.add_row(
        "read it",
        f"{plan.snapshots.uri(plan.snapshots.folder('data', manifest.snapshot))}**/*.parquet",
    )
    console.print(f"\n[bold green]Published[/] {plan.job.table.uri}")
    console.print(grid)
    if manifest.labels:
        console.print(_label_bars(manifest.labels))


def failures(
    plan: Plan,
    published: Manifest | None,
    counts: Counter[tuple[str, str]],
    first: list[dict[str, Any]],
) -> None:
    """Documents that could not be labelled: how many for each reason, then the first of them, two lines each."""
    console.print(f"{plan.job.table.uri}: {_whose(plan, published)}", soft_wrap=True, markup=False)
    if plan.missing:
        console.print(
            f"{len(plan.missing):,} of {len(plan.units):,} units are not labelled yet: `rookery label` would label them",
            soft_wrap=True,
        )
    if not counts:
        console.print("[green]No errors.[/]")
        return
    table = Table("reason", "stage", Column("documents", justify="right"), box=box.SIMPLE)
    for (stage, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(reason, stage, f"{count:,}")
    table.add_section()
    table.add_row("all", "", f"{counts.total():,}")
    console.print(table)
    if first:
        console.print(f"The first {len(first):,} of {counts.total():,}:", soft_wrap=True)
    for row in first:
        console.print(_failure(row), soft_wrap=True)


def _whose(plan: Plan, published: Manifest | None) -> str:
    if published:
        partial = " (partial)" if published.partial else ""
        return f"errors of snapshot {published.snapshot}{partial}, {published.counts['documents']:,} documents"
    done = len(plan.units) - len(plan.missing)
    return f"errors of {done:,} finished units, which no snapshot holds yet"


def _failure(row: dict[str, Any]) -> Text:
    where = f"{row['source_uri']} at {row['source_position']}"
    return Text.assemble(
        (printable(row["reason"]), "red"),
        f"  id {printable(row['id'] or 'unknown')}\n",
        f"  {printable(where)}: {printable(row['message'])}",
    )


def printable(text: str) -> str:
    """Ids and file names are the corpus's: what would command a terminal is shown escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def connecting(address: str) -> None:
    """Before what may take a minute, where nobody answers."""
    console.print(Text(f"connecting to the Ray cluster at {printable(address)} …"), soft_wrap=True)


def publishing() -> Status:
    """Something to look at while files are written; nothing where nobody looks."""
    return console.status("publishing …")


class Progress:
    """Documents done so far: a bar on a terminal, a line now and then in a log."""

    def __init__(self, plan: Plan) -> None:
        self.work = Work()
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
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
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
        """A line above the bar, or in the log."""
        console.print(Text(printable(line), style="yellow"), soft_wrap=True)

    def add(self, documents: int, errors: int, windows: int, tokens: int) -> None:
        """One more unit is done."""
        work, now = self.work, time.perf_counter()
        work.units += 1
        work.documents += documents
        work.errors += errors
        work.windows += windows
        work.tokens += tokens
        work.seconds = now - self._started
        rates = f"{work.documents:,} documents, {work.tokens / (now - self._started):,.0f} tokens/s, {_errors(work.errors)}"
        self._bar.update(self._task, advance=1, rates=rates)
        if not console.is_terminal and (
            now - self._last_line > LOG_EVERY_S or work.units == self._units
        ):
            self._last_line = now
            units = f"{work.units:,}" + (f"/{self._units:,}" if self._units else "")
            console.print(f"{units} units, {rates}, {now - self._started:.0f} s", soft_wrap=True)


def _units(plan: Plan) -> str:
    cut = len(plan.units) - plan.streams
    done = f"{cut:,}, of which {len(plan.units) - len(plan.missing):,} are done"
    return f"{done}; {files(plan.streams)} more to be cut while read" if plan.streams else done


def _documents(plan: Plan) -> str:
    """The number of documents, as far as footers tell."""
    known = [unit.documents for unit in plan.units if unit.documents is not None]
    if not known:
        return "documents counted when read"
    return f"{'' if len(known) == len(plan.units) else 'at least '}{sum(known):,} documents"


def new_grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _label_bars(labels: dict[str, int]) -> Table:
    table = Table.grid(padding=(0, 2))
    most = max(labels.values())
    for label, count in sorted(labels.items(), key=lambda item: -item[1])[:LABELS_SHOWN]:
        table.add_row(
            f"  {label}",
            f"{count:,}",
            Text("█" * max(1, round(BAR_WIDTH * count / most)), style="cyan"),
        )
    if len(labels) > LABELS_SHOWN:
        table.add_row(f"  and {len(labels) - LABELS_SHOWN} more labels")
    return table


def files(count: int) -> str:
    """How many, in words."""
    return f"{count:,} file{'' if count == 1 else 's'}"


def _errors(count: int) -> str:
    return f"{count:,} error{'' if count == 1 else 's'}"


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
