"""What `rookery label` shows: the plan, and what was published."""

from collections.abc import Iterator

from rich.status import Status
from rich.table import Table
from rich.text import Text

from jobs.terminal.console import (
    byte_count,
    file_count,
    new_grid,
    outcome_count,
    printable,
)
from jobs.terminal.descriptions import changed_documents, corpus_notes
from jobs.terminal.run_log import run_console
from pipeline.config.label import Job
from pipeline.corpus.files import Corpus
from pipeline.planning.plan import Plan
from pipeline.planning.survey import Survey
from pipeline.runs.progress import LabelledWork
from pipeline.tables.erased_ids import ErasedLists
from pipeline.tables.publication_rules import failure_lines
from pipeline.tables.snapshots import Manifest
from pipeline.tables.verdicts import verdict_line, verdicts_of
from pipeline.terms import Dtype, TaskName

_LABELS_SHOWN = 10
_BAR_WIDTH = 24


def print_plan(plan: Plan, current: Manifest | None, candidate: Manifest | None) -> None:
    """Prints the plan: files, units, documents where known, what is done already.

    `current` or `candidate`: the snapshot, or what a gate held back, that has what the plan would publish.
    """
    grid = _inputs(plan.job, plan.corpus, f", {_documents(plan)}", plan.checkpoint.head.task, plan.scoring.dtype)
    grid.add_row("units", _units(plan))
    grid.add_row("keys", f"scoring {plan.scoring.key}, decision {plan.task.key}")
    if plan.limit is not None:
        grid.add_row("limit", f"first {plan.limit:,} documents: the snapshot will be marked as partial")
    state = f"snapshot {current.snapshot} is current" if current else "a new snapshot will be published"
    grid.add_row("table state", f"candidate {candidate.snapshot} holds these documents" if candidate else state)
    _add_erasure(grid, plan.erased)
    run_console.print(grid)


def print_unchanged(survey: Survey, current: Manifest, *, is_candidate: bool = False) -> None:
    """Prints what a run looked at that found nothing changed: no file of the corpus was opened."""
    scorer, documents = survey.scorer, f"; {current.counts['documents']:,} documents"
    grid = _inputs(survey.job, survey.corpus, documents, scorer.checkpoint.head.task, scorer.scoring.dtype)
    state = f"snapshot {current.snapshot} is current: nothing has changed since it was published"
    if is_candidate:
        state = f"nothing has changed since candidate {current.snapshot} was held back"
    grid.add_row("table state", state)
    _add_erasure(grid, survey.erased)
    run_console.print(grid)


def _add_erasure(grid: Table, erased: ErasedLists) -> None:
    if not erased.finished:
        grid.add_row("erasure", "not done, or at work: until `rookery erase` ends well, snapshots may hold erased ids")


def _inputs(job: Job, corpus: Corpus, documents: str, task: TaskName, dtype: Dtype) -> Table:
    """The first rows of what is printed before a run: what it reads, and where its table is.

    `documents`: what is known of them, with what parts it from the corpus's size.
    """
    size = f"{file_count(len(corpus.files))}, {byte_count(sum(file.stored.size for file in corpus.files))}"
    grid = new_grid()
    grid.add_row("corpus", Text("; ".join([f"{size}{documents}", *corpus_notes(corpus)])))
    grid.add_row("checkpoint", f"{job.checkpoint.uri}  ({task.replace('_', ' ')}, {dtype})")
    grid.add_row("table", job.table.uri)
    return grid


def print_up_to_date(current: Manifest, listing: str, why: str = "") -> None:
    """Prints that nothing was to do or, because of `why`, to publish. `listing`: the command that lists errors."""
    counts = current.counts
    reasons = ", ".join(f"{f.reason} {f.documents:,}" for f in current.failures)
    listed = f": {reasons}; `{listing}`" if reasons else ""
    holder = f"{why} snapshot {current.snapshot} already holds these".strip()
    run_console.print(
        Text.assemble(
            ("Nothing to do:", "green"),
            f" {holder} {counts['documents']:,} documents "
            f"({outcome_count(counts['predictions'], counts['errors'])}{listed}). "
            "Nothing was published.",
        ),
        soft_wrap=True,
    )


def print_summary(plan: Plan, manifest: Manifest, work: LabelledWork, seconds: float, listing: str) -> None:
    """Prints what was done and where it is. `listing`: the command that lists errors."""
    counts = manifest.counts
    run_console.print(f"\n[bold green]Published[/] {plan.job.table.uri}")
    for name, line in _summary(plan, manifest, work, seconds, listing):
        # not folded: paths are there to be copied
        run_console.print(Text.assemble((f"{name:<9}  ", "bold"), printable(line)), soft_wrap=True)
    if manifest.labels or counts["unlabelled"]:
        one_each = "label" in _columns(plan)
        if not one_each:
            run_console.print("documents with each of these, of which one may have several:")
        run_console.print(_label_bars(manifest, one_each=one_each))


def print_retried(table_uri: str, units: int, reasons: list[str]) -> None:
    """Prints how many units of a table have documents that are tried again."""
    of = f"documents that failed for {' or '.join(reasons)}"
    line = f"{units:,} unit{'' if units == 1 else 's'} with {of}: tried again" if units else f"no unit has {of}"
    run_console.print(Text(f"retry        {printable(table_uri)}: {line}"), soft_wrap=True)


def print_let_through(table_uri: str, manifest: Manifest) -> None:
    """Prints that a candidate is published now: by whom else it was held back, and what gates make of it now."""
    run_console.print(f"\n[bold green]Published[/] {table_uri}")
    line = f"{manifest.snapshot}, which was held back until now: {manifest.counts['documents']:,} documents"
    run_console.print(Text.assemble(("snapshot   ", "bold"), line), soft_wrap=True)
    for number, line in enumerate(map(verdict_line, verdicts_of(manifest.run))):
        run_console.print(Text.assemble((f"{'' if number else 'gates':<9}  ", "bold"), printable(line)), soft_wrap=True)


def print_report(uri: str) -> None:
    """Prints where a run's report is."""
    run_console.print(Text.assemble(("report     ", "bold"), printable(uri)), soft_wrap=True)


def print_connecting(address: str) -> None:
    """Prints where a connection goes, which may take a minute where nobody answers."""
    run_console.print(Text(f"connecting to the Ray cluster at {printable(address)} …"), soft_wrap=True)


def publishing_status() -> Status:
    """Makes something to look at while files are written; it shows nothing where no terminal is."""
    return run_console.status("publishing …")


def _summary(
    plan: Plan, manifest: Manifest, work: LabelledWork, seconds: float, listing: str
) -> Iterator[tuple[str, str]]:
    counts = manifest.counts
    partial = " (partial)" if manifest.partial else ""
    added = sum(file.state == "added" for file in manifest.files)
    files = f"{added} added, {len(manifest.files) - added} kept, {len(manifest.removed)} removed"
    yield "snapshot", f"{manifest.snapshot}{partial}: files: {files}"
    documents = outcome_count(counts["predictions"], counts["errors"])
    yield "documents", f"{counts['documents']:,}: {documents}"
    if manifest.parent is not None:
        yield "changes", changed_documents(manifest)  # of the table; what this run did for them is in "this run"
    for number, line in enumerate(failure_lines(manifest.failures)):
        yield "" if number else "errors", line
    if manifest.failures:
        yield "", f"all of them: {listing}"
    for number, line in enumerate(map(verdict_line, verdicts_of(manifest.run))):
        yield "" if number else "gates", line
    if counts["unlabelled"]:
        yield "no label", f"{counts['unlabelled']:,} of the predictions: {_unlabelled(plan)}"
    if counts["erased"]:
        yield "erased", f"{counts['erased']:,} more of the corpus were left out: their ids were erased from this table"
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


def _this_run(work: LabelledWork, documents: int) -> str:
    """What this run computed and, if that is not all of the table's documents, how many others there are."""
    units = f"{work.units:,} unit{'' if work.units == 1 else 's'}"
    outcome = outcome_count(work.documents - work.errors, work.errors)
    if work.taken_over:
        outcome += f"; {work.taken_over:,} were taken over, for their texts have scores"
    others = documents - work.documents
    before = f"; the other {others:,} were done before" if others > 0 else ""
    return f"{work.documents:,} documents in {units}: {outcome}{before}"


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


def _units(plan: Plan) -> str:
    units = len(plan.units) - plan.streams
    line = f"{units:,}, of which {len(plan.units) - len(plan.missing):,} are done"
    return f"{line}; {file_count(plan.streams)} more to be cut while read" if plan.streams else line


def _documents(plan: Plan) -> str:
    """The number of documents, as far as footers tell."""
    counts = [unit.documents for unit in plan.units if unit.documents is not None]
    if not counts:
        return "documents counted when read"
    return f"{'' if len(counts) == len(plan.units) else 'at least '}{sum(counts):,} documents"


def _label_bars(manifest: Manifest, *, one_each: bool) -> Table:
    """Documents by label; where each has one label at most, the rows add up to the predictions."""
    ordered = sorted(manifest.labels.items(), key=lambda item: -item[1])
    rows, rest = ordered[:_LABELS_SHOWN], ordered[_LABELS_SHOWN:]
    unlabelled = manifest.counts["unlabelled"]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    most = max([*manifest.labels.values(), unlabelled])
    for label, count in [*rows, *([("(none)", unlabelled)] if unlabelled else [])]:
        bar = Text("█" * max(1, round(_BAR_WIDTH * count / most)), style="cyan")
        table.add_row(Text(f"  {printable(label)}"), f"{count:,}", bar)
    if rest:
        others = f"{sum(count for _, count in rest):,}" if one_each else ""
        table.add_row(f"  and {len(rest)} more labels", others)
    return table
