"""Keeps the records of a labelling run: of each table one, in the table while it runs and in its summary at the end."""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

from jobs.labelled_table import LabelledTable
from jobs.run_report import REPORTED, ComputedWork, held_back_candidate, write_report
from jobs.terminal.label_output import print_report
from jobs.terminal.run_log import run_log
from pipeline.cluster.connection import actor_threads
from pipeline.config.label import Job
from pipeline.errors import RookeryError
from pipeline.planning.plan import Plan
from pipeline.runs.progress import LabelledWork, Progress
from pipeline.runs.run_estimate import StoredEstimate
from pipeline.runs.run_record import RunRecord, RunRecords, State, new_run_id, outcome_of
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Manifest

TellSummary = Callable[[RunRecord], None]


class RunRecorder:
    """The records of one run, which has a table for each of its jobs.

    A record that can't be written keeps no run from labelling: the terminal says so, once.
    """

    def __init__(self, jobs: Sequence[Job], *, dry_run: bool) -> None:
        self.started = time.time()
        self.run_id = new_run_id(self.started)
        self.records = {job.table.uri: self._begun(job) for job in jobs}
        self._stores = {job.table.uri: RunRecords(Storage(job.storage), job.table.uri) for job in jobs}
        self._dry_run, self._is_told = dry_run, False
        self._begun_in: set[str] = set()  # tables that this run wrote to
        self._computed: dict[str, ComputedWork] = {}

    def _begun(self, job: Job) -> RunRecord:
        now = datetime.fromtimestamp(self.started, UTC)
        budget = {name: value for name, value in job.budget if value is not None}
        return RunRecord(
            run_id=self.run_id,
            table=job.table.uri,
            state="planning",
            started_at=now,
            updated_at=now,
            host=f"{platform.node()}:{os.getpid()}",
            submission_id=_submission_id(),
            rookery=version("rookery"),
            checkpoint=job.checkpoint.uri,
            actor_cpus=actor_threads(job.compute),
            actor_gpus=job.compute.num_gpus,
            price=job.price,
            budget=budget or None,
            tags=job.tags,
        )

    def planned(self, plan: Plan, survey: str) -> None:
        """Adds what the plan of a table tells, and what `rookery plan` said of it. `survey`: the survey's digest."""
        uri = plan.job.table.uri
        self._change(uri, scoring_key=plan.scoring.key, decision_key=plan.task.key)
        try:
            estimate = StoredEstimate(plan.storage, uri).read() if plan.missing else None
        except RookeryError:  # no run fails for want of it
            return
        if estimate and estimate.is_of(survey, len(plan.missing)):
            self._change(uri, estimate=estimate.expected())

    def tell_progress(self, plans: Sequence[Plan], progress: Progress, state: State = "labelling") -> None:
        """Tells in each table how far the work on it is."""
        for number, plan in enumerate(plans):
            self._computed[plan.job.table.uri] = ComputedWork(plan, progress.works[number])
            self._add_work(plan.job.table.uri, progress, number)
            self._tell_state(plan.job.table.uri, state)

    def publishing(self, plan: Plan) -> None:
        """Tells in a table that its units are done and files are being written."""
        self._tell_state(plan.job.table.uri, "publishing")

    def end(self, tables: Sequence[LabelledTable], error: BaseException | None) -> list[RunRecord]:
        """Stores what came of each table; gives the summaries.

        `error`: what ended the run, for tables about which nothing else is known.
        """
        by_uri = {table.job.table.uri: table for table in tables}
        return [self._end(uri, by_uri.get(uri), error) for uri in self.records]

    def _end(self, uri: str, table: LabelledTable | None, error: BaseException | None) -> RunRecord:
        manifest = table.manifest if table else None
        own = (table.error if table else None) or (None if manifest else error)
        outcome, code = outcome_of(own)
        if own is None and self._dry_run:
            outcome = "planned"
        elif own is None and table and not table.has_published:
            outcome = "unchanged"
        now = datetime.now(UTC)
        self._change(
            uri,
            state="ended",
            outcome=outcome,
            exit_code=code,
            message=str(own) or None if own else None,
            ended_at=now,
            seconds=round(time.time() - self.started, 3),
        )
        if manifest:
            self._add_manifest(uri, manifest)
        if not self._dry_run and self._is_a_table(uri):
            if outcome in REPORTED:
                self._report(uri, table)
            self._store(self._stores[uri].write_summary, self.records[uri])
        return self.records[uri]

    def _report(self, uri: str, table: LabelledTable | None) -> None:
        try:
            manifest = table.manifest if table else None
            if candidate := held_back_candidate(table, self.run_id):
                self._add_manifest(uri, manifest := candidate)
            report = write_report(self._stores[uri], self.records[uri], table, manifest, self._computed.get(uri))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is what counts, and it has ended
            run_log.notice(f"the run's report can't be written: {error}")
            return
        if report:
            self._change(uri, report=report)
            print_report(report)

    def _is_a_table(self, uri: str) -> bool:
        """Whether there is a table to keep a record in: a mistake in the job file makes none."""
        store = self._stores[uri]
        try:
            return uri in self._begun_in or store.storage.is_folder(store.table_uri)
        except RookeryError:
            return False

    def _add_manifest(self, uri: str, manifest: Manifest) -> None:
        counts, changes = manifest.counts, manifest.changes
        self._change(
            uri,
            snapshot=manifest.snapshot,
            partial=manifest.partial,
            documents=counts["documents"],
            predictions=counts["predictions"],
            errors=counts["errors"],
            changes=asdict(changes) if changes else None,
        )

    def _add_work(self, uri: str, progress: Progress, number: int) -> None:
        figures, work = progress.figures(number), progress.works[number]
        told = {name: _rounded(value) for name, value in asdict(figures).items()}
        self._change(uri, progress=told, actor_hours=told["actor_hours"], usd=told["usd"], **_spent(work))
        if figures.usd is not None and progress.tokens:
            self._change(uri, usd_per_billion_tokens=_rounded(figures.usd / progress.tokens * 1e9))

    def _tell_state(self, uri: str, state: State) -> None:
        self._change(uri, state=state)
        self._begun_in.add(uri)
        self._store(self._stores[uri].write_progress, self.records[uri])

    def _change(self, uri: str, **values: object) -> None:
        self.records[uri] = self.records[uri].model_copy(update={"updated_at": datetime.now(UTC)} | values)

    def _store(self, write: TellSummary, record: RunRecord) -> None:
        try:
            write(record)
        except RookeryError as error:
            if not self._is_told:
                run_log.notice(f"the run's record can't be written: {error}")
            self._is_told = True


def _spent(work: LabelledWork) -> dict[str, object]:
    stages = {stage: round(seconds, 3) for stage, seconds in work.stage_seconds.items()}
    return {"stage_seconds": stages, "devices": dict(work.devices)}


def _rounded(value: float | None) -> float | None:
    """To six digits, which is more than anything here is known to; counts stay."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _submission_id() -> str | None:
    """Reads what Ray tells the driver of a job that was submitted, in the variable that its own `init` reads."""
    config = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    id_: str | None = config.get("metadata", {}).get("job_submission_id")
    return id_
