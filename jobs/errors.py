"""`rookery errors`: the documents that could not be labelled, and why."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from jobs.terminal.errors_output import FAILURES_SHOWN, print_failed_documents, print_failure_counts
from pipeline.config.label_file import load_jobs
from pipeline.planning.plan import Plan, plans_of
from pipeline.planning.survey import make_surveys
from pipeline.tables import failures
from pipeline.tables.publish import is_current
from pipeline.tables.snapshots import Manifest


def errors(
    job_file: Annotated[Path, typer.Option("--config", help="The job file (YAML).")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override one field: path=value.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Only documents that failed for this reason.")] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Only documents of this file: its URI, or a part of it."),
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help=f"List every document, not the first {FAILURES_SHOWN}."),
    ] = False,
) -> None:
    """Count the documents that could not be labelled by reason, then list them."""
    for plan in plans_of(make_surveys(load_jobs(job_file, overrides))):
        show_errors(plan, reason, file, every=every)


def errors_command(job_file: Path, overrides: list[str] | None) -> str:
    """Writes the command line that lists the errors of a job."""
    settings = [part for override in overrides or [] for part in ("--set", override)]
    return shlex.join(["rookery", "errors", "--config", str(job_file), *settings])


def show_errors(plan: Plan, reason: str | None = None, file: str | None = None, *, every: bool = False) -> None:
    """Shows the errors of the newest snapshot, or of a finished run that was not published: it may have had too many.

    They are read twice, so that they can be counted first and need not be held.
    """
    published = _published(plan)
    counts = failures.merge_failures(
        failure
        for rows in failures.filter_failures(_failures(plan, published), reason, file)
        for failure in failures.count_failures(rows)
    )
    print_failure_counts(plan, published, counts, [("reason", reason), ("file", file)])
    if counts:
        documents = failures.filter_failures(_failures(plan, published), reason, file)
        print_failed_documents(documents, failures.total_failures(counts), every=every)


def _published(plan: Plan) -> Manifest | None:
    """The snapshot to show; None where the fragments tell more: all are there and nobody published them."""
    if current := is_current(plan.snapshots, plan.publication):
        return current
    if not plan.missing:
        return None
    return plan.snapshots.latest() or plan.snapshots.latest(partial=True)


def _failures(plan: Plan, published: Manifest | None) -> Iterator[pa.Table]:
    if published:
        return failures.failures_of_snapshot(plan.snapshots, published)
    finished = (unit for unit in plan.publication.units if unit.id in plan.finished)
    return failures.failures_of_units(plan.fragments, finished)
