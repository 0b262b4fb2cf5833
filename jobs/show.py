"""What the person at the terminal sees: the plan, progress, the summary. In a log file, plain lines."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
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
from pipeline.tables.rules import told
from pipeline.tables.snapshots import Failure, Manifest

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
        grid.add_row("limit", f"first {plan.limit:,} documents: the snapshot will be marked as partial")
    state = f"snapshot {current.snapshot} is current" if current else "a new snapshot will be published"
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


def up_to_date(current: Manifest, listing: str, why: str = "") -> None:
    """A run with nothing to do, or nothing to publish, because of `why`. `listing`: the command that lists errors."""
    counts = current.counts
    reasons = ", ".join(f"{f.reason} {f.documents:,}" for f in current.failures)
    listed = f": {reasons}; `{listing}`" if reasons else ""
    what = f"{why} snapshot {current.snapshot} already holds these".strip()
    console.print(
        Text.assemble(
            ("Nothing to do:", "green"),
            f" {what} {counts['documents']:,} documents ({_of(counts['predictions'], counts['errors'])}{listed}). "
            "Nothing was published.",
        ),
        soft_wrap=True,
    )


def summary(plan: Plan, manifest: Manifest, work: Work, seconds: float, listing: str) -> None:
    """What was done and where it is. `listing`: the command that lists errors."""
    counts = manifest.counts
    console.print(f"\n[bold green]Published[/] {plan.job.table.uri}")
    for name, line in _summary(plan, manifest, work, seconds, listing):
        # not folded: paths are there to be copied
        console.print(Text.assemble((f"{name:<9}  ", "bold"), printable(line)), soft_wrap=True)
    if manifest.labels or counts["unlabelled"]:
        one_each = "label" in _columns(plan)
        if not one_each:
            console.print("documents with each of these, of which one may have several:")
        console.print(_label_bars(manifest, one_each=one_each))


def _summary(plan: Plan, manifest: Manifest, work: Work, seconds: float, listing: str) -> Iterator[tuple[str, str]]:
    counts = manifest.counts
    partial = " (partial)" if manifest.partial else ""
    added = sum(file.state == "added" for file in manifest.files)
    files = f"{added} added, {len(manifest.files) - added} kept, {len(manifest.removed)} removed"
    yield "snapshot", f"{manifest.snapshot}{partial}: files: {files}"
    documents = _of(counts["predictions"], counts["errors"])
    yield "documents", f"{counts['documents']:,}: {documents}"
    for number, line in enumerate(told(manifest.failures)):
        yield "" if number else "errors", line
    if manifest.failures:
        yield "", f"all of them: {listing}"
    if counts["unlabelled"]:
        yield "no label", f"{counts['unlabelled']:,} of the predictions: {_unlabelled(plan)}"
    if ids := counts["duplicate_ids"]:
        are = "1 id is" if ids == 1 else f"{ids:,} ids are"
        yield "ids", f"{are} on several documents each (corpus.duplicate_ids: keep)"
    yield "this run", _this_run(work, counts["documents"])
    if work.tokens:
        yield "", f"{work.tokens:,} tokens in {work.windows:,} windows"
        rates = f"{work.tokens / work.seconds:,.0f} tokens/s, {work.documents / work.seconds:,.1f} documents/s"
        yield "speed", f"{rates} over {work.seconds:.1f} s, Ray's start included"
    for note in corpus_notes(plan.corpus):
        yield "corpus", note
    yield "time", f"{seconds:.1f} s in all"
    folder = plan.snapshots.folder("data", manifest.snapshot)
    yield "read it", f"{plan.snapshots.uri(folder)}**/*.parquet"


def _this_run(work: Work, documents: int) -> str:
    """What this run computed and, if that is not all of the table's documents, how many others there are."""
    units = f"{work.units:,} unit{'' if work.units == 1 else 's'}"
    done = _of(work.documents - work.errors, work.errors)
    others = documents - work.documents
    before = f"; the other {others:,} were done before" if others > 0 else ""
    return f"{work.documents:,} documents in {units}: {done}{before}"


def _columns(plan: Plan) -> list[str]:
    return [field.name for field in plan.task.fields]


def _unlabelled(plan: Plan) -> str:
    """What it means that a prediction has none."""
    columns = _columns(plan)
    if "entities" in columns:
        return "no entity was found in them"
    if "answers" in columns:
        return "none of the questions has an answer in them"
    return "the most probable label" + (" is" if "label" in columns else " too is") + " below its threshold"


def failures(
    plan: Plan,
    published: Manifest | None,
    counts: list[Failure],
    filters: list[tuple[str, str | None]],
) -> None:
    """How many documents could not be labelled, for each reason."""
    console.print(f"{plan.job.table.uri}: {_whose(plan, published)}", soft_wrap=True, markup=False)
    if plan.missing:
        console.print(
            f"{len(plan.missing):,} of {len(plan.units):,} units are not labelled yet: `rookery label` would label them",
            soft_wrap=True,
        )
    wanted = " and ".join(f"--{name} {value!r}" for name, value in filters if value is not None)
    if not counts:
        console.print(Text(f"No errors{f' with {wanted}' if wanted else ''}.", "green"))
        return
    table = Table("reason", "stage", Column("documents", justify="right"), box=box.SIMPLE)
    for failure in counts:
        table.add_row(failure.reason, failure.stage, f"{failure.documents:,}")
    table.add_section()
    table.add_row("all", "", f"{sum(failure.documents for failure in counts):,}")
    console.print(table)


def failed_documents(found: Iterable[pa.Table], total: int, *, every: bool) -> None:
    """The first documents of `total` that could not be labelled, or every one, two lines each."""
    shown = total if every else min(total, FAILURES_SHOWN)
    hint = "" if shown == total else " (--all lists every one)"
    console.print(f"The first {shown:,} of {total:,}{hint}:" if hint else f"All {total:,}:")
    rows = (row for table in found for row in table.to_pylist())
    for row in islice(rows, shown):
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
        rates = (
            f"{work.documents:,} documents, {work.tokens / (now - self._started):,.0f} tokens/s, {_errors(work.errors)}"
        )
        self._bar.update(self._task, advance=1, rates=rates)
        if not console.is_terminal and (now - self._last_line > LOG_EVERY_S or work.units == self._units):
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


def _label_bars(manifest: Manifest, *, one_each: bool) -> Table:
    """Documents by label; where each has one label at most, the rows add up to the predictions."""
    ordered = sorted(manifest.labels.items(), key=lambda item: -item[1])
    rows, rest = ordered[:LABELS_SHOWN], ordered[LABELS_SHOWN:]
    unlabelled = manifest.counts["unlabelled"]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    most = max([*manifest.labels.values(), unlabelled])
    for label, count in [*rows, *([("(none)", unlabelled)] if unlabelled else [])]:
        bar = Text("█" * max(1, round(BAR_WIDTH * count / most)), style="cyan")
        table.add_row(Text(f"  {printable(label)}"), f"{count:,}", bar)
    if rest:
        others = f"{sum(count for _, count in rest):,}" if one_each else ""
        table.add_row(f"  and {len(rest)} more labels", others)
    return table


def files(count: int) -> str:
    """How many, in words."""
    return f"{count:,} file{'' if count == 1 else 's'}"


def _of(predictions: int, errors: int) -> str:
    return f"{predictions:,} prediction{'' if predictions == 1 else 's'}, {_errors(errors)}"


def _errors(count: int) -> str:
    return f"{count:,} error{'' if count == 1 else 's'}"


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
