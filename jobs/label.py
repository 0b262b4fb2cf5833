"""`rookery label`: make a prediction table true. Also `python -m jobs.label`, for `ray job submit`.

There is no separate resume or re-label: the plan says what is missing, the units without a fragment are labelled, and
one complete snapshot is published.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from jobs.errors import errors_command
from jobs.explain import explain_documents
from jobs.label_work import check_checkpoint, connecting_first, label_missing, outcomes_counted, running
from jobs.labelled_table import LabelledTable
from jobs.lake_commits import check_job_lakes, commit_job
from jobs.run_recorder import RunRecorder, TellSummary
from jobs.terminal import label_output
from jobs.terminal.run_log import LogFormat, run_log
from pipeline.config.label import Job
from pipeline.config.label_file import load_jobs
from pipeline.errors import ErrorBudgetError, HeldBackError, RookeryError
from pipeline.mapped import Mapped
from pipeline.planning.new_editions import PASSING_REASONS, retry, store_editions
from pipeline.planning.plan import Plan, check_table_writable, plans_of
from pipeline.planning.survey import make_surveys
from pipeline.runs.run_record import RunRecord
from pipeline.tables.snapshots import Manifest

HELD = (ErrorBudgetError, HeldBackError)  # of one table, whatever the others'


def label(
    job_file: Annotated[Path, typer.Option("--config", help="The job file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one field: path=value, e.g. table.uri=s3://bucket/table."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what there is to do and stop. `rookery plan` says what it takes.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Label the first N documents into a snapshot marked as partial."),
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option(
            "--retry",
            help="Compute documents again that failed: `errors` for those whose reason may pass "
            f"({', '.join(sorted(PASSING_REASONS))}), or any other reason by its name, as `rookery errors` lists them.",
        ),
    ] = None,
    explain: Annotated[
        list[str] | None,
        typer.Option(
            "--explain",
            help="Say of the document with this id where it is, what the table has of it, and what a run would do; "
            "label nothing. Several: --explain A --explain B.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat,
        typer.Option("--log-format", help="What standard error gets: lines for people, or an object of JSON in each."),
    ] = "text",
) -> None:
    """Make a prediction table true: label what is missing, publish one complete snapshot.

    The last line of standard output, unless that is a terminal, is the run's summary as JSON, one for each table;
    nothing else is written there.
    """
    run_log.use(log_format)
    jobs, listing = load_jobs(job_file, overrides), errors_command(job_file, overrides)
    if explain:
        explain_documents(jobs, explain)
        return
    run_jobs(
        jobs,
        dry_run=dry_run,
        limit=limit,
        retry_reason=retry,
        listing=listing,
        tell=lambda record: print(record.line()),
    )


def _print_summary(record: RunRecord) -> None:
    if not sys.stdout.isatty():  # where people have read it already
        print(record.line(), flush=True)


def run_job(
    job: Job,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    retry_reason: str | None = None,
    listing: str = "rookery errors --config JOB_FILE",
) -> Manifest | None:
    """Runs a job with one checkpoint, as `run_jobs` does. Returns what readers see now, or None after a dry run."""
    return run_jobs([job], dry_run=dry_run, limit=limit, retry_reason=retry_reason, listing=listing)[0]


def run_jobs(
    jobs: Sequence[Job],
    *,
    dry_run: bool = False,
    limit: int | None = None,
    retry_reason: str | None = None,
    listing: str = "rookery errors --config JOB_FILE",
    tell: TellSummary = lambda record: None,
) -> list[Manifest | None]:
    """Plans, labels, publishes; shows each on the terminal. The jobs are of one corpus, and have a table each.

    What is wrong with a job ends the run before the first unit. A table that is held back, or over its error budget,
    keeps no other from being published; at the end the first error is raised, with what is said of the others.

    `retry_reason`: documents that failed for it are computed again; `errors` for every reason that may pass.
    `listing`: the command that lists what could not be labelled. `tell` gets the summary of each table at the end,
    whatever came of it.

    Returns what readers of each table see now, or None after a dry run.
    """
    recorder = RunRecorder(jobs, dry_run=dry_run)
    tables: list[LabelledTable] = []
    try:
        _run(jobs, tables, recorder, dry_run=dry_run, limit=limit, retry_reason=retry_reason, listing=listing)
    except BaseException as error:
        for record in recorder.end(tables, error):
            tell(record)
        raise
    for record in recorder.end(tables, None):
        tell(record)
    return [table.manifest for table in tables]


def _run(
    jobs: Sequence[Job],
    tables: list[LabelledTable],
    recorder: RunRecorder,
    *,
    dry_run: bool,
    limit: int | None,
    retry_reason: str | None,
    listing: str,
) -> None:
    """Does what `run_jobs` says; adds to `tables` what becomes of each."""
    for job in jobs:
        check_job_lakes(job)
    tables += [
        LabelledTable(survey, listing, recorder.run_id, recorder.started) for survey in make_surveys(jobs, limit)
    ]
    if retry_reason is None:
        for table in tables:
            with table.apart(*HELD):
                table.settle_unchanged(dry_run=dry_run)
    with contextlib.ExitStack() as stack:
        # a dry run takes longer over many files rather than start a cluster to look at them
        mapped = map if dry_run else connecting_first(jobs[0], stack)
        changed = [table for table in tables if not table.is_settled]
        plans = plans_of([table.survey for table in changed], mapped)
        if retry_reason is not None:
            plans = [_retried(plan, retry_reason, mapped, dry_run=dry_run) for plan in plans]
        for table, plan in zip(changed, plans, strict=True):
            recorder.planned(plan, table.survey.digest)
            with table.apart(*HELD):
                table.settle_planned(plan, dry_run=dry_run)
        unsettled = [(table, plan) for table, plan in zip(changed, plans, strict=True) if not table.is_settled]
        _make_true(unsettled, recorder)
        for table in changed:
            table.leave_hint()
    for table in tables:
        if table.manifest and not table.manifest.partial:
            with table.apart(RookeryError):
                commit_job(table.job)
    _raise_first([table.error for table in tables if table.error])


def _retried(plan: Plan, reason: str, mapped: Mapped, *, dry_run: bool) -> Plan:
    reasons = PASSING_REASONS if reason == "errors" else frozenset({reason})
    again = retry(plan, reasons, mapped)
    units = sum(a != b for a, b in zip(again.units, plan.units, strict=True))
    label_output.print_retried(plan.job.table.uri, units, sorted(reasons))
    if not dry_run:
        store_editions(again)
    return again


def _make_true(unsettled: list[tuple[LabelledTable, Plan]], recorder: RunRecorder) -> None:
    """Labels what is missing in some tables from one reading, and publishes each."""
    if not unsettled:
        return
    plans = [plan for _, plan in unsettled]
    for plan in plans:
        check_checkpoint(plan)
        check_table_writable(plan)
    with running(plans) as (runs, mapped), outcomes_counted(plans, lambda: [table.error for table, _ in unsettled]):
        works = label_missing([plan.with_erased_ids() for plan in plans], runs, recorder.tell_progress)
        for (table, plan), work in zip(unsettled, works, strict=True):
            recorder.publishing(plan)
            with table.apart(RookeryError):
                table.publish(plan, work, mapped)


def _raise_first(errors: list[RookeryError]) -> None:
    if len(errors) > 1:
        raise type(errors[0])("\n".join(map(str, errors))) from errors[0]
    for error in errors:
        raise error


if __name__ == "__main__":
    from jobs.exits import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(label)
    run(app)
