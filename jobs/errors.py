"""`rookery errors`: the documents that could not be labelled, and why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from jobs import show
from pipeline.config import Job, load_job
from pipeline.dataflow.plan import Plan, make_plan
from pipeline.tables import failures
from pipeline.tables.publish import is_current
from pipeline.tables.snapshots import Manifest


def errors(
    job_file: Annotated[Path, typer.Option("--config", help="The job file (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one field: path=value.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="List the first N documents.")
    ] = show.FAILURES_SHOWN,
) -> None:
    """List and group the documents that could not be labelled."""
    show_errors(load_job(job_file, overrides), limit)


def show_errors(job: Job, limit: int) -> None:
    """Shows the errors of the newest snapshot, or of a finished run that was not published: it may have had too many."""
    plan = make_plan(job)
    published = _published(plan)
    counts, first = failures.summarize(_failures(plan, published), limit)
    show.failures(plan, published, counts, first)


def _published(plan: Plan) -> Manifest | None:
    """The snapshot to show; None where the fragments tell more: all are there and nobody published them."""
    if current := is_current(plan.snapshots, plan.publication):
        return current
    if not plan.missing:
        return None
    return plan.snapshots.latest() or plan.snapshots.latest(partial=True)


def _failures(plan: Plan, published: Manifest | None) -> Iterator[pa.Table]:
    if published:
        return failures.of_snapshot(plan.snapshots, published)
    done = (unit for unit in plan.publication.units if unit.id in plan.done)
    return failures.of_units(plan.fragments, done)
