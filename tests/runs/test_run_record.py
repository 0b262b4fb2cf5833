"""Records in a table, and what is made of them from another machine."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.interruption import Interrupted
from pipeline.errors import BudgetSpentError, ConfigError, ErrorBudgetError, HeldBackError, StorageError
from pipeline.runs.run_record import SILENT_SECONDS, RunRecord, RunRecords, new_run_id, outcome_of
from pipeline.runs.run_status import newest_runs
from pipeline.storage.objects import Storage

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def record(records: RunRecords, minutes: float, **values: object) -> RunRecord:
    moment = NOON + timedelta(minutes=minutes)
    run_id = new_run_id(moment.timestamp())
    plain = {"run_id": run_id, "table": records.table_uri, "started_at": moment, "updated_at": moment}
    return RunRecord.model_validate(plain | {"state": "labelling"} | values)


@pytest.fixture
def records(tmp_path: Path) -> RunRecords:
    return RunRecords(Storage(), f"{tmp_path}/table")


def test_ids_sort_as_runs_began_and_differ():
    moments = [0.0, 1.0, 1795819650.7, 4e9]
    ids = [new_run_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert new_run_id(0.0) != new_run_id(0.0)


def test_a_run_lives_until_it_is_silent_and_has_ended_with_its_summary(records: RunRecords):
    first, second = record(records, 0), record(records, 10)
    records.write_progress(first)
    records.write_progress(second)
    now = second.updated_at + timedelta(seconds=5)
    assert [(run.record, run.life) for run in newest_runs(records, 9, now)] == [(second, "lives"), (first, "died")]
    assert [run.record for run in newest_runs(records, 1, now)] == [second]
    later = now + timedelta(seconds=SILENT_SECONDS)
    assert [run.life for run in newest_runs(records, 9, later)] == ["died", "died"]
    ended = second.model_copy(update={"state": "ended", "outcome": "published", "exit_code": 0, "snapshot": 3})
    records.write_summary(ended)
    newest = newest_runs(records, 1, later)[0]
    assert (newest.record, newest.life) == (ended, "ended")
    line = json.loads(newest.line())
    assert (line["outcome"], line["snapshot"], line["life"], line["silent_seconds"]) == ("published", 3, "ended", 95.0)


def test_what_is_no_record_is_passed_over(records: RunRecords, tmp_path: Path):
    assert newest_runs(records, 9) == []
    good = record(records, 0, tags={"team": "search"})
    records.write_progress(good)
    folder = tmp_path / "table/_runs" / record(records, 5).run_id
    folder.mkdir()
    (folder / "summary.json").write_text("{")
    assert [run.record for run in newest_runs(records, 9)] == [good]


def test_a_record_of_a_later_version_is_read(records: RunRecords):
    line = json.loads(record(records, 0).line()) | {"something": {"new": 1}}
    assert RunRecord.model_validate_json(json.dumps(line)).table == records.table_uri


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, ("published", 0)),
        (HeldBackError("x"), ("held_back", 6)),
        (BudgetSpentError("x"), ("budget_spent", 7)),
        (ConfigError("x"), ("failed", 2)),
        (ErrorBudgetError("x"), ("failed", 4)),
        (StorageError("x"), ("failed", 75)),
        (ZeroDivisionError(), ("failed", 1)),
        (Interrupted(15), ("interrupted", 143)),
        (KeyboardInterrupt(), ("interrupted", 130)),
    ],
)
def test_what_an_error_makes_of_a_run(error: BaseException | None, expected: tuple[str, int]):
    assert outcome_of(error) == expected
