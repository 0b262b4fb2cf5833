"""One table of a labelling run, from what the run sees of it to what its readers see in the end."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from jobs.terminal import label_output
from pipeline.config.label import Job
from pipeline.corpus.files import Corpus
from pipeline.errors import ErrorBudgetError, RookeryError
from pipeline.mapped import Mapped
from pipeline.planning.gatekeeper import Gatekeeper
from pipeline.planning.plan import Plan, publication_rules
from pipeline.planning.survey import Survey, unchanged_snapshot
from pipeline.runs.progress import LabelledWork
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.publication_rules import Totals, check_rules
from pipeline.tables.publish import check_current, check_published, is_current, publish
from pipeline.tables.rollback import check_not_held_back
from pipeline.tables.snapshots import Manifest, Snapshots


@dataclass
class LabelledTable:
    """What becomes of a table in a run; each step shows what it finds on the terminal.

    Attributes:
        survey: what the run sees of corpus, checkpoint and table.
        listing: the command that lists what could not be labelled.
        run_id: the run's.
        started: when it began, in seconds since 1970.
        is_settled: nothing is left to do; then
        manifest: is what readers see, None after a dry run, or
        error: says why nothing was published, or was not committed to a lake table.
        has_published: whether this run made what readers see.
    """

    survey: Survey
    listing: str
    run_id: str
    started: float
    is_settled: bool = False
    has_published: bool = False
    manifest: Manifest | None = None
    error: RookeryError | None = None

    def __post_init__(self) -> None:
        self._gatekeeper = Gatekeeper(self.survey)

    @property
    def job(self) -> Job:
        return self.survey.job

    @contextlib.contextmanager
    def apart(self, *kinds: type[RookeryError]) -> Iterator[None]:
        """Keeps errors of some kinds as this table's, which is settled by them: other tables go on."""
        try:
            yield
        except kinds as error:
            self.error, self.is_settled = error, True

    def settle_unchanged(self, *, dry_run: bool) -> None:
        """Settles a table of which nothing has changed since it was published or held back. Raises as publishing."""
        if current := unchanged_snapshot(self.survey):
            label_output.print_unchanged(self.survey, current)
            self._settle(None if dry_run else self._left_as_it_is(current))
        elif candidate := self._gatekeeper.unchanged_candidate():
            label_output.print_unchanged(self.survey, candidate, is_candidate=True)
            self._settle(None if dry_run else self._let_through(candidate))

    def settle_planned(self, plan: Plan, *, dry_run: bool) -> None:
        """Settles a table for which nothing has to be computed or written. Raises as publishing."""
        current = is_current(plan.snapshots, plan.publication)
        if not (current or plan.job.table.undo_rollback):
            check_not_held_back(plan.snapshots.latest(), plan.publication)
        candidate = None if current else self._gatekeeper.find(plan.publication.content)
        if not current:
            self._gatekeeper.check()
        label_output.print_plan(plan, current, candidate)
        if dry_run:
            self._settle(None)
            return
        plan.sweep()
        if current:
            with self._listed():
                check_current(plan.snapshots, plan.fragments, plan.publication, current)
            plan.snapshots.point_to_latest()
            label_output.print_up_to_date(current, self.listing)
            self._settle(current)
        elif candidate:
            self._settle(self._let_through(candidate))

    def publish(self, plan: Plan, work: LabelledWork, mapped: Mapped) -> None:
        """Publishes what was labelled. Raises as `tables.publish`."""
        plan = plan.cut_streams().with_erased_ids()
        with label_output.publishing_status(), self._listed():
            run = run_record(plan.job, self.run_id, self.started)
            run |= corpus_record(plan.corpus) | work_record(work)
            manifest = publish(plan.snapshots, plan.fragments, plan.publication, run, mapped, self._gatekeeper)
        if manifest.run | run == manifest.run:
            self.has_published = True
            label_output.print_summary(plan, manifest, work, time.time() - self.started, self.listing)
        else:
            label_output.print_up_to_date(manifest, self.listing, "another run was first, and")
        self._settle(manifest)

    def leave_hint(self) -> None:
        """Tells the next run what this one saw, where it left the newest snapshot."""
        if self.manifest:
            LastSurvey(self.survey.storage, self.job.table.uri).write(self.survey.digest, self.manifest.content)

    def _settle(self, manifest: Manifest | None) -> None:
        self.manifest, self.is_settled = manifest, True

    def _left_as_it_is(self, current: Manifest) -> Manifest:
        uri = self.job.table.uri
        with self._listed():
            check_published(uri, publication_rules(self.job), Totals.of(current), current)
        Snapshots(self.survey.storage, uri).point_to_latest()
        label_output.print_up_to_date(current, self.listing)
        return current

    def _let_through(self, candidate: Manifest) -> Manifest:
        """Publishes what was held back, if the rules and gates allow it by now: nothing is computed or written."""
        uri = self.job.table.uri
        check_rules(publication_rules(self.job), uri, Totals.of(candidate))
        run = run_record(self.job, self.run_id, self.started)
        manifest = self._gatekeeper.let_through(candidate, run)
        self.has_published = True
        label_output.print_let_through(uri, manifest)
        return manifest

    @contextlib.contextmanager
    def _listed(self) -> Iterator[None]:
        """Adds to what is said of too many errors where all of them can be seen."""
        try:
            yield
        except ErrorBudgetError as error:
            raise ErrorBudgetError(
                f"{error}\nList them with `{self.listing}`; mend what is wrong or raise max_errors, and run again"
            ) from error


def run_record(job: Job, run_id: str, started: float) -> dict[str, Any]:
    """Makes the manifest's `run`: who, when, with what. All that may differ between two runs that publish the same."""
    return {
        "run_id": run_id,
        "labelled_at": datetime.fromtimestamp(started, UTC).isoformat(timespec="microseconds"),
        "published_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "rookery": version("rookery"),
        "job": job.model_dump(mode="json"),
        "tags": job.tags,
    }


def corpus_record(corpus: Corpus) -> dict[str, Any]:
    """Makes what a manifest's `run` tells of the corpus: versions of lake tables, commits of hubs, if any."""
    versions = {"corpus_tables": [asdict(table) for table in corpus.tables], "corpus_commits": dict(corpus.commits)}
    return {name: read for name, read in versions.items() if read}


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
