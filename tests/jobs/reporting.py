"""A run from its plan to its report in this process, without Ray."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.labelled_table import LabelledTable
from jobs.run_recorder import RunRecorder
from pipeline.config.label import Job
from pipeline.errors import RookeryError
from pipeline.planning.plan import Plan, plan_of
from pipeline.planning.survey import make_survey
from pipeline.runs.progress import LabelledWork, Progress
from pipeline.runs.run_record import RunRecord
from tests.labelling import label_here


@dataclass(frozen=True)
class ReportedRun:
    """What a run has left."""

    record: RunRecord
    plan: Plan
    work: LabelledWork

    @property
    def page(self) -> Path:
        assert self.record.report
        return Path(self.record.report)


def run_here(
    job: Job, error: RookeryError | None = None, meanwhile: Callable[[], object] = lambda: None
) -> ReportedRun:
    """Does what `rookery label` does, until `error` ends it before it publishes. `meanwhile`: is called before that."""
    recorder = RunRecorder([job], dry_run=False)
    table = LabelledTable(make_survey(job), "rookery errors", recorder.run_id, recorder.started)
    plan = plan_of(table.survey)
    recorder.planned(plan, table.survey.digest)
    progress = Progress([plan])
    for unit in label_here(plan):
        progress.add(unit)
    recorder.tell_progress([plan], progress)
    with table.apart(RookeryError):
        if error:
            raise error
        table.publish(plan, progress.works[0], map)
    meanwhile()
    [record] = recorder.end([table], table.error)
    return ReportedRun(record, plan, progress.works[0])
