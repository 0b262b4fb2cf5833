"""What a run leaves in its table for whoever asks: how far it is while it lives, what came of it when it has ended.

    <table>/_runs/<run id>/progress.json    put anew time and again
    <table>/_runs/<run id>/summary.json     put once, at the end; a run without one lives, or died

A record is for people and schedulers. Nothing that a run computes or publishes depends on it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import RookeryError
from pipeline.storage.objects import Storage

State = Literal["planning", "labelling", "publishing", "ended"]
RunOutcome = Literal["published", "unchanged", "planned", "held_back", "budget_spent", "failed", "interrupted"]
BEAT_SECONDS_OF_PROGRESS = 15.0
SILENT_SECONDS = 90.0  # since progress was told, after which a run seems dead


class RunRecord(BaseModel):
    """One run's work on one table. What is not known, or not yet, is None, and is left out of the object.

    Attributes:
        message: why nothing was published, or what else there is to say.
        submission_id: Ray's name of the job, where it was submitted to a cluster or is a RayJob's.
        snapshot: what readers see now, or the candidate that was held back.
        documents, predictions, errors: of that snapshot.
        changes: added, changed, removed and unchanged documents since the snapshot before it.
        progress: the figures of pipeline/runs/progress.py.
        stage_seconds: where the time of all processes went: read, text, encode, write, wait.
        devices: units by the hardware that computed them.
        actor_cpus, actor_gpus: threads and GPUs of one actor.
        estimate: what `rookery plan` said of this very work before it began: numbers, or `value`, `low` and `high`.
        report: URI of the page that shows all this.
    """

    model_config = ConfigDict(extra="ignore")

    run_id: str
    table: str
    state: State
    outcome: RunOutcome | None = None
    exit_code: int | None = None
    message: str | None = None
    snapshot: int | None = None
    partial: bool | None = None
    documents: int | None = None
    predictions: int | None = None
    errors: int | None = None
    changes: dict[str, int] | None = None
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    seconds: float | None = None
    host: str | None = None
    submission_id: str | None = None
    rookery: str | None = None
    checkpoint: str | None = None
    scoring_key: str | None = None
    decision_key: str | None = None
    progress: dict[str, Any] | None = None
    stage_seconds: dict[str, float] | None = None
    devices: dict[str, int] | None = None
    actor_cpus: int | None = None
    actor_gpus: float | None = None
    actor_hours: float | None = None
    usd: float | None = None
    usd_per_billion_tokens: float | None = None
    price: float | None = None
    budget: dict[str, float] | None = None
    tags: dict[str, str] = {}
    estimate: dict[str, Any] | None = None
    report: str | None = None

    def line(self) -> str:
        """Writes it as one line of JSON."""
        return self.model_dump_json(exclude_none=True)


def new_run_id(started: float) -> str:
    """Makes the id of a run that began at `started`, in seconds since 1970: ids sort as runs began."""
    return f"{datetime.fromtimestamp(started, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The records of one table's runs."""

    storage: Storage
    table_uri: str

    def uri(self, run_id: str, name: str) -> str:
        """Names an object of a run: `summary.json`."""
        return f"{self.table_uri.rstrip('/')}/_runs/{run_id}/{name}"

    def write_progress(self, record: RunRecord) -> None:
        """Replaces what is told of a run that lives. Raises RookeryError."""
        self.storage.put(self.uri(record.run_id, "progress.json"), _bytes(record))

    def write_summary(self, record: RunRecord) -> None:
        """Stores what came of a run. Raises RookeryError."""
        self.storage.put(self.uri(record.run_id, "summary.json"), _bytes(record))

    def newest_ids(self, count: int) -> Sequence[str]:
        """Lists the ids of the newest runs, newest first. Raises StorageError, AccessError."""
        folders = self.storage.folders_in(f"{self.table_uri.rstrip('/')}/_runs")
        return sorted((uri.rstrip("/").rpartition("/")[2] for uri in folders), reverse=True)[:count]

    def read(self, run_id: str) -> RunRecord | None:
        """Reads the newest record of a run; None where there is none that can be read. Raises StorageError."""
        for name in ("summary.json", "progress.json"):
            try:
                return RunRecord.model_validate_json(self.storage.read(self.uri(run_id, name)))
            except (FileNotFoundError, ValidationError):
                continue
        return None


def outcome_of(error: BaseException | None) -> tuple[RunOutcome, int]:
    """Says what an error makes of a run, with the exit code of its kind; nothing raised is `published`."""
    if error is None:
        return "published", 0
    if not isinstance(error, Exception):
        return "interrupted", getattr(error, "exit_code", 130)
    code = error.exit_code if isinstance(error, RookeryError) else 1
    kinds: dict[int, RunOutcome] = {6: "held_back", 7: "budget_spent"}
    return kinds.get(code, "failed"), code


def _bytes(record: RunRecord) -> bytes:
    return record.model_dump_json(exclude_none=True, indent=1).encode() + b"\n"
