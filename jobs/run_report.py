"""Writes the page of a run beside its record: reads the manifests that it shows, and the least sure documents."""

from dataclasses import dataclass

from jobs.labelled_table import LabelledTable
from jobs.run_report_page import run_report_page
from jobs.terminal.console import byte_count, file_count
from jobs.terminal.descriptions import corpus_notes
from pipeline.errors import HeldBackError
from pipeline.planning.plan import Plan
from pipeline.planning.survey import Survey
from pipeline.runs.least_sure import least_sure_documents
from pipeline.runs.progress import LabelledWork
from pipeline.runs.run_findings import RunFindings
from pipeline.runs.run_history import located
from pipeline.runs.run_record import RunRecord, RunRecords
from pipeline.storage.objects import Storage
from pipeline.tables.candidates import CandidateSnapshots
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.snapshots import Manifest, Snapshots

REPORTED = ("published", "held_back", "budget_spent", "failed")  # of the others there is nothing to see, or no time


@dataclass(frozen=True, slots=True)
class ComputedWork:
    """What a run computed for a table, and the plan that it followed."""

    plan: Plan
    work: LabelledWork


def held_back_candidate(table: LabelledTable | None, run_id: str) -> Manifest | None:
    """Reads the candidate that this run made and a gate held back; None where it made none. Raises StorageError."""
    if table is None or not isinstance(table.error, HeldBackError):
        return None
    candidates = CandidateSnapshots(Snapshots(table.survey.storage, table.job.table.uri)).all()
    return next((each for each in reversed(candidates) if each.run.get("run_id") == run_id), None)


def write_report(
    records: RunRecords,
    record: RunRecord,
    table: LabelledTable | None,
    manifest: Manifest | None,
    computed: ComputedWork | None,
) -> str | None:
    """Writes it, and gives its URI; None where ids were erased meanwhile, which it might hold. Raises RookeryError.

    `manifest`: what the run published, or had held back.
    """
    snapshots = Snapshots(records.storage, records.table_uri)
    page = run_report_page(
        RunFindings(
            record,
            computed.work if computed else None,
            manifest,
            _before(snapshots, manifest),
            least_sure_documents(snapshots, manifest) if manifest else None,
            located(computed.work.slowest, computed.plan.cut_streams()) if computed else (),
        ),
        _facts(table.survey) if table else {},
    )
    uri = records.uri(record.run_id, "report.html")
    records.storage.put(uri, page.encode())
    # an erasure whose list is visible later than this sees the page
    if table and _has_new_lists(records.storage, table):
        records.storage.delete(uri)
        return None
    return uri


def _before(snapshots: Snapshots, manifest: Manifest | None) -> Manifest | None:
    if manifest is None or manifest.parent is None:
        return None
    try:
        before = snapshots.read(manifest.parent)
    except FileNotFoundError:
        return None
    return None if before.partial else before


def _has_new_lists(storage: Storage, table: LabelledTable) -> bool:
    return Erasures(storage, table.job.table.uri).read().names != table.survey.erased.names


def _facts(survey: Survey) -> dict[str, str]:
    files, scorer = survey.corpus.files, survey.scorer
    size = byte_count(sum(file.stored.size for file in files))
    return {
        "corpus": " ".join(survey.job.corpus.uris),
        "files": "; ".join([f"{file_count(len(files))}, {size}", *corpus_notes(survey.corpus)]),
        "task": f"{scorer.checkpoint.head.task.replace('_', ' ')}, {scorer.scoring.dtype}",
        "weights": scorer.scoring.weights_digest,
    }
