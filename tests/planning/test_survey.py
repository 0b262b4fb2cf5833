"""Whether anything has changed: told by the listing, the checkpoint and the job alone, and never wrongly."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.label import run_job
from jobs.sample import CHECKPOINT
from pipeline.config.label import Job, parse_job
from pipeline.errors import ErrorBudgetError
from pipeline.planning.plan import plan_of
from pipeline.planning.survey import Survey, make_survey, unchanged_snapshot
from pipeline.storage.objects import Storage
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.publish import publish
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Manifest, Snapshots
from tests.labelling import label_here


def job(folder: Path, *overrides: str) -> Job:
    settings = [
        f"corpus.uris={folder}/corpus/**/*.jsonl",
        "corpus.id_column=id",
        f"checkpoint.uri={folder}/checkpoint",
        f"table.uri={folder}/table",
    ]
    return parse_job("", [*settings, *overrides])


def publish_here(job: Job, limit: int | None = None) -> Manifest:
    """What `rookery label` leaves, without Ray."""
    survey = make_survey(job, limit)
    plan = plan_of(survey)
    label_here(plan)
    manifest = publish(plan.snapshots, plan.fragments, plan.cut_streams().publication, {"run_id": "here"})
    LastSurvey(plan.storage, job.table.uri).write(survey.digest, manifest.content)
    return manifest


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(CHECKPOINT, folder / "checkpoint")
    for number in range(3):
        records = [{"id": f"{number}-{n}", "text": f"a proposal for rust, {number} {n}", "key": n} for n in range(2)]
        path = folder / "corpus" / f"year={number % 2}" / f"{number}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    publish_here(job(folder))
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy, with files of the same times: their versions."""
    shutil.copytree(published, tmp_path / "copy")
    copied = tmp_path / "copy"
    publish_here(job(copied))
    return copied


def test_a_run_with_nothing_to_do_opens_no_file_of_the_corpus(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    newest = Snapshots(Storage(), f"{folder}/table").latest()
    run_job(job(folder))  # makes the folder of the runs' records
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for name in ("open", "read_start", "read_end"):
        monkeypatch.delattr(Storage, name)
    monkeypatch.delattr("pipeline.tables.fragments.Fragments.listing")
    assert run_job(job(folder)) == newest
    assert run_job(job(folder), dry_run=True) is None
    shown = " ".join(capsys.readouterr().err.split())
    assert "corpus 3 files, " in shown
    assert "; 6 documents" in shown
    assert "is current: nothing has changed since it was published" in shown
    assert "Nothing was published." in shown
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    records = [path for path in after.keys() - before.keys() if path.is_file()]
    assert [path.name for path in records] == ["summary.json"]  # of the run, none of the dry one
    assert {path: moment for path, moment in after.items() if path in before and path.name != "_runs"} == {
        path: moment for path, moment in before.items() if path.name != "_runs"
    }


def append(folder: Path) -> None:
    with (folder / "corpus/year=0/0.jsonl").open("a") as file:
        file.write('{"id": "new", "text": "new"}\n')


def rewrite(folder: Path) -> None:
    path = folder / "corpus/year=0/0.jsonl"
    path.write_text(path.read_text().replace("rust", "ruff"))


def rename(folder: Path) -> None:
    (folder / "corpus/year=0/0.jsonl").rename(folder / "corpus/year=0/9.jsonl")


def delete(folder: Path) -> None:
    (folder / "corpus/year=0/0.jsonl").unlink()


def add(folder: Path) -> None:
    shutil.copy(folder / "corpus/year=0/0.jsonl", folder / "corpus/year=0/3.jsonl")


def recalibrate(folder: Path) -> None:
    (folder / "checkpoint/rookery.json").write_text('{"temperature": 3}')


@pytest.mark.parametrize("change", [append, rewrite, rename, delete, add, recalibrate])
def test_a_change_is_seen(folder: Path, change: Callable[[Path], None]):
    assert unchanged_snapshot(make_survey(job(folder))) is not None
    change(folder)
    assert unchanged_snapshot(make_survey(job(folder))) is None


@pytest.mark.parametrize(
    "override",
    [
        "corpus.id_column=key",
        "corpus.text_column=id",
        "corpus.text_column=[text, id]",
        "corpus.max_document_bytes=1000",
        "corpus.carry=[]",
        "units.text_bytes=1000",
        "table.partition_by=[year]",
        "table.buckets=2",
        "text.max_tokens=512",
        "text.aggregation=max",
        "compute.dtype=int8",
    ],
)
def test_another_job_is_another(folder: Path, override: str):
    assert unchanged_snapshot(make_survey(job(folder, override))) is None


@pytest.mark.parametrize(
    "override", ["storage.retry=5", "compute.num_cpus=1", "max_errors=50%", "table.undo_rollback=true"]
)
def test_settings_that_decide_no_row_change_nothing(folder: Path, override: str):
    assert unchanged_snapshot(make_survey(job(folder, override))) is not None


def test_a_limit_has_snapshots_of_its_own(folder: Path):
    assert unchanged_snapshot(make_survey(job(folder), 2)) is None
    partial = publish_here(job(folder), 2)
    assert unchanged_snapshot(make_survey(job(folder), 2)) == partial
    assert unchanged_snapshot(make_survey(job(folder))) is None  # the hint is of the last run


def test_the_newest_snapshot_must_be_the_one_that_was_seen(folder: Path):
    first = Snapshots(Storage(), f"{folder}/table").latest()
    assert first is not None
    append(folder)
    publish_here(job(folder))
    survey = make_survey(job(folder))
    assert unchanged_snapshot(survey) is not None
    roll_back(Snapshots(Storage(), f"{folder}/table"), first.snapshot, {"run_id": "rolled"})
    assert unchanged_snapshot(survey) is None


@pytest.mark.parametrize("data", [None, b"", b"{", b"[]", b'{"digest": 1}'])
def test_a_hint_that_is_lost_or_damaged_costs_a_plan(folder: Path, data: bytes | None):
    hint = folder / "table/_last_survey.json"
    if data is None:
        hint.unlink()
    else:
        hint.write_bytes(data)
    assert unchanged_snapshot(make_survey(job(folder))) is None
    assert run_job(job(folder)) is not None  # finds the snapshot current, and writes the hint again
    assert unchanged_snapshot(make_survey(job(folder))) is not None


def test_the_job_s_rules_are_asked_all_the_same(folder: Path):
    (folder / "corpus/year=0/4.jsonl").write_text('{"id": "null", "text": null}\n')
    publish_here(job(folder, "max_errors=90%"))
    assert run_job(job(folder, "max_errors=90%")) is not None
    with pytest.raises(ErrorBudgetError, match="which other settings published, stays as it is"):
        run_job(job(folder, "max_errors=0"))


def test_ids_of_several_documents_are_counted_again_where_they_are_refused(folder: Path):
    (folder / "corpus/year=0/4.jsonl").write_text('{"id": "0-0", "text": "again"}\n')
    publish_here(job(folder, "corpus.duplicate_ids=keep"))

    def survey(duplicates: str) -> Survey:
        return make_survey(job(folder, f"corpus.duplicate_ids={duplicates}"))

    assert unchanged_snapshot(survey("keep")) is not None
    assert unchanged_snapshot(survey("refuse")) is None
