"""What has become of a table's runs, for whoever looks from another machine."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pipeline.runs.run_record import SILENT_SECONDS, RunRecord, RunRecords

Life = Literal["lives", "ended", "died"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run as its record tells it.

    Attributes:
        life: `died` for one that has no summary, and has told nothing for SILENT_SECONDS by this machine's clock.
        silent_seconds: since its record was last written.
    """

    record: RunRecord
    life: Life
    silent_seconds: float

    def line(self) -> str:
        """Writes the record and what is made of it as one line of JSON."""
        tree = self.record.model_dump(mode="json", exclude_none=True)
        return json.dumps(tree | {"life": self.life, "silent_seconds": round(self.silent_seconds, 1)})


def newest_runs(records: RunRecords, count: int, now: datetime | None = None) -> Sequence[RunStatus]:
    """Reads the newest runs of a table, newest first. Raises StorageError, AccessError."""
    read = [records.read(run_id) for run_id in records.newest_ids(count)]
    return [_status(record, now or datetime.now(UTC)) for record in read if record]


def _status(record: RunRecord, now: datetime) -> RunStatus:
    silent = max(0.0, (now - record.updated_at).total_seconds())
    if record.state == "ended":
        return RunStatus(record, "ended", silent)
    return RunStatus(record, "lives" if silent < SILENT_SECONDS else "died", silent)
