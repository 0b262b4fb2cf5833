"""`rookery label`: make a prediction table true. Also `python -m jobs.label`, for `ray job submit`.

There is no separate resume or re-label: the plan says what is missing, the units without a fragment are labelled, and
one complete snapshot is published.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.errors import errors_command
from jobs.explain import explain_documents
from jobs.terminal import label_output
from jobs.terminal.label_progress import LabelledWork, LabelProgress
from pipeline.cluster.connection import cluster_address, is_connected, ray_cluster
from pipeline.config.label import Job, load_job
from pipeline.corpus.files import Corpus
from pipeline.errors import ErrorBudgetError
from pipeline.mapped import Mapped
from pipeline.planning.gatekeeper import Gatekeeper
from pipeline.planning.new_editions import PASSING_REASONS, retry, store_editions
from pipeline.planning.plan import Plan, check_table_writable, plan_of, publication_rules
from pipeline.planning.survey import Survey, make_survey, unchanged_snapshot
from pipeline.tables.attempts import remove_marks_of_run
from pipeline.tables.heartbeats import Heartbeats
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.publication_rules import Totals, check_rules
from pipeline.tables.publish import check_current, check_published, is_current, publish
from pipeline.tables.rollback import check_not_held_back
from pipeline.tables.snapshots import Manifest, Snapshots


def label(
    job_file: Annotated[Path, typer.Option("--config", help="The job file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one field: path=value, e.g. table.uri=s3://bucket/table."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
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
) -> None:
    """Make a prediction table true: label what is missing, publish one complete snapshot."""
    job, listing = load_job(job_file, overrides), errors_command(job_file, overrides)
    if explain:
        explain_documents(job, explain)
        return
    run_job(job, dry_run=dry_run, limit=limit, retry_reason=retry, listing=listing)


def run_job(
    job: Job,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    retry_reason: str | None = None,
    listing: str = "rookery errors --config JOB_FILE",
) -> Manifest | None:
    """Plans, labels, publishes; shows each on the terminal. Returns what readers see now, or None after a dry run.

    `retry_reason`: documents that failed for it are computed again; `errors` for every reason that may pass.
    `listing`: the command that lists what could not be labelled.
    """
    started = time.time()
    survey = make_survey(job, limit)
    if retry_reason is None and (current := unchanged_snapshot(survey)):
        label_output.print_unchanged(survey, current)
        return None if dry_run else _left_as_it_is(survey, current, listing)
    gatekeeper = Gatekeeper(survey)
    if candidate := gatekeeper.unchanged_candidate():
        label_output.print_unchanged(survey, candidate, is_candidate=True)
        return None if dry_run else _let_through(gatekeeper, candidate, started)
    with contextlib.ExitStack() as stack:
        # a dry run takes longer over many files rather than start a cluster to look at them
        mapped = map if dry_run else _connecting_first(job, stack)
        plan = plan_of(survey, mapped)
        if retry_reason is not None:
            plan = _retried(plan, retry_reason, mapped, dry_run=dry_run)
        manifest = _make_true(plan, gatekeeper, started, dry_run=dry_run, listing=listing)
        if manifest:
            LastSurvey(plan.storage, job.table.uri).write(survey.digest, manifest.content)
        return manifest


def _left_as_it_is(survey: Survey, current: Manifest, listing: str) -> Manifest:
    uri = survey.job.table.uri
    with _listed_by(listing):
        check_published(uri, publication_rules(survey.job), Totals.of(current), current)
    Snapshots(survey.storage, uri).point_to_latest()
    label_output.print_up_to_date(current, listing)
    return current


def _let_through(gatekeeper: Gatekeeper, candidate: Manifest, started: float) -> Manifest:
    """Publishes what was held back, if the job's rules and gates allow it by now: nothing is computed or written."""
    job = gatekeeper.survey.job
    check_rules(publication_rules(job), job.table.uri, Totals.of(candidate))
    manifest = gatekeeper.let_through(candidate, run_record(job, candidate.content, started))
    label_output.print_let_through(job.table.uri, manifest)
    return manifest


def _connecting_first(job: Job, stack: contextlib.ExitStack) -> Mapped:
    """A map on Ray that connects when it is first used: a run with few files and nothing to do needs none."""

    def mapped(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        stack.enter_context(connected(job))
        from pipeline.cluster.ray_tasks import map_on_ray

        return map_on_ray(function, items)

    return mapped


def _retried(plan: Plan, reason: str, mapped: Mapped, *, dry_run: bool) -> Plan:
    reasons = PASSING_REASONS if reason == "errors" else frozenset({reason})
    again = retry(plan, reasons, mapped)
    label_output.print_retried(sum(a != b for a, b in zip(again.units, plan.units, strict=True)), sorted(reasons))
    if not dry_run:
        store_editions(again)
    return again


def _make_true(plan: Plan, gatekeeper: Gatekeeper, started: float, *, dry_run: bool, listing: str) -> Manifest | None:
    current = is_current(plan.snapshots, plan.publication)
    if not (current or plan.job.table.undo_rollback):
        check_not_held_back(plan.snapshots.latest(), plan.publication)
    candidate = None if current else gatekeeper.find(plan.publication.content)
    if not current:
        gatekeeper.check()
    label_output.print_plan(plan, current, candidate)
    if dry_run:
        return None
    plan.sweep()
    if current:
        with _listed_by(listing):
            check_current(plan.snapshots, plan.fragments, plan.publication, current)
        plan.snapshots.point_to_latest()
        label_output.print_up_to_date(current, listing)
        return current
    if candidate:
        return _let_through(gatekeeper, candidate, started)
    check_checkpoint(plan)
    check_table_writable(plan)
    with running(plan) as run_id:
        # imports ray, which the cluster has prepared
        from pipeline.cluster.ray_tasks import map_on_ray

        work = label_missing(plan.with_erased_ids(), run_id)
        plan = plan.cut_streams().with_erased_ids()
        with label_output.publishing_status(), _listed_by(listing):
            run = run_record(plan.job, plan.publication.content, started)
            run |= corpus_record(plan.corpus) | work_record(work)
            manifest = publish(plan.snapshots, plan.fragments, plan.publication, run, map_on_ray, gatekeeper)
    if manifest.run | run == manifest.run:
        label_output.print_summary(plan, manifest, work, time.time() - started, listing)
    else:
        label_output.print_up_to_date(manifest, listing, "another run was first, and")
    return manifest


def connected(job: Job) -> contextlib.AbstractContextManager[None]:
    """Connects to the job's cluster, as ray_cluster does; says where, for it may take a minute."""
    if (address := cluster_address(job.ray)) and not is_connected():
        label_output.print_connecting(address)
    return ray_cluster(job)


@contextlib.contextmanager
def running(plan: Plan) -> Iterator[str]:
    """Connects to the plan's cluster and begins a run that others know to be alive: gives its id.

    What it gives up when somebody ends it is no suspect for the next run: its marks go when Ray is down and makes no
    new ones.
    """
    with Heartbeats(plan.fragments).beating() as run:
        try:
            with connected(plan.job):
                yield run
        except BaseException as error:
            if not isinstance(error, Exception):
                remove_marks_of_run(plan.fragments, run, len(plan.units))
            raise


@contextlib.contextmanager
def _listed_by(listing: str) -> Iterator[None]:
    """Adds to what is said of too many errors where all of them can be seen."""
    try:
        yield
    except ErrorBudgetError as error:
        raise ErrorBudgetError(
            f"{error}\nList them with `{listing}`; mend what is wrong or raise max_errors, and run again"
        ) from error


def label_missing(plan: Plan, run: str) -> LabelledWork:
    """Labels the units that have no fragment, and shows progress. Needs `running`, which gives `run`."""
    if not plan.missing:
        return LabelledWork()
    with LabelProgress(plan) as progress:
        from pipeline.cluster.waves import label_units

        for unit in label_units(plan, run, progress.tell):
            progress.add(unit)
    return progress.work


def check_checkpoint(plan: Plan) -> None:
    """Loads the weights once here, so that a corrupt checkpoint ends the job before Ray starts."""
    if not plan.missing:
        return
    import torch

    from pipeline.checkpoints.names import load_classifier

    load_classifier(plan.checkpoint, torch.float32)


def run_record(job: Job, content: str, started: float) -> dict[str, Any]:
    """Makes the manifest's `run`: who, when, with what. All that may differ between two runs that publish the same."""
    labelled_at = datetime.fromtimestamp(started, UTC)
    return {
        "run_id": f"{labelled_at:%Y%m%dT%H%M%SZ}-{content[:8]}",
        "labelled_at": labelled_at.isoformat(timespec="microseconds"),
        "published_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "rookery": version("rookery"),
        "job": job.model_dump(mode="json"),
    }


def corpus_record(corpus: Corpus) -> dict[str, Any]:
    """Makes what a manifest's `run` tells of the corpus: the commits at which a hub's data sets were listed, if any."""
    return {"corpus_commits": dict(corpus.commits)} if corpus.commits else {}


def work_record(work: LabelledWork) -> dict[str, Any]:
    """Makes what a manifest's `run` tells of what a run had to do."""
    return {
        "work": {
            "units": work.units,
            "documents_computed": work.documents - work.errors - work.taken_over,
            "documents_taken_over": work.taken_over,
            "windows": work.windows,
            "tokens": work.tokens,
        }
    }


if __name__ == "__main__":
    from jobs.exits import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(label)
    run(app)
