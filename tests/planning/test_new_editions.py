"""What failed for a reason that may pass is computed again, alone, and what can't pass is left."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.label import run_job
from jobs.sample import CHECKPOINT
from pipeline.config.label import Job, parse_job
from pipeline.planning.new_editions import PASSING_REASONS, retry, store_editions
from pipeline.planning.plan import Plan, make_plan
from pipeline.runs.unit_done import UnitDone
from pipeline.schema import fragment_schema
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Manifest
from tests.labelling import label_here

DIED = {"stage": "predict", "reason": "process_died", "message": "it ended", "logits": None}


def job(folder: Path) -> Job:
    settings = [f"corpus.uris={folder}/corpus", f"checkpoint.uri={CHECKPOINT}", f"table.uri={folder}/table"]
    return parse_job("", [*settings, "corpus.id_column=id", "max_errors=90%"])


def publish_here(plan: Plan) -> Manifest:
    return publish(plan.snapshots, plan.fragments, plan.publication, {"run_id": "here"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two units: of one a document ended the process, of the other one has no text."""
    (tmp_path / "corpus").mkdir()
    for name, texts in {"a": ["one", "two", "three"], "b": ["four", " "]}.items():
        lines = (json.dumps({"id": f"{name}{n}", "text": text}) + "\n" for n, text in enumerate(texts))
        (tmp_path / "corpus" / f"{name}.jsonl").write_text("".join(lines))
    plan = make_plan(job(tmp_path))
    label_here(plan)
    unit = plan.unit_ids[0]
    rows = plan.fragments.read([unit])[0].to_pylist()
    rows[1] |= DIED
    Path(plan.fragments.uri(unit)).unlink()
    plan.fragments.write(unit, pa.Table.from_pylist(rows, schema=fragment_schema(plan.fragments.output)))
    return tmp_path


def label_again(plan: Plan) -> tuple[list[UnitDone], Manifest]:
    store_editions(plan)
    return label_here(plan), publish_here(plan)


@pytest.mark.parametrize("is_published", [True, False])
def test_only_what_may_pass_is_computed_again(folder: Path, is_published: bool):
    if is_published:
        assert publish_here(make_plan(job(folder))).counts["errors"] == 2
    again = retry(make_plan(job(folder)), PASSING_REASONS)
    assert [unit.file.uri.rpartition("/")[2] for _, unit in again.missing] == ["a.jsonl"]
    done, manifest = label_again(again)
    assert (sum(unit.windows for unit in done), sum(unit.taken_over for unit in done)) == (1, 2)
    assert manifest.counts["errors"] == 1
    assert [failure.reason for failure in manifest.failures] == ["empty_text"]
    assert retry(make_plan(job(folder)), PASSING_REASONS).missing == []


def test_another_reason_is_tried_again_when_it_is_named(folder: Path):
    again = retry(make_plan(job(folder)), frozenset({"empty_text"}))
    assert [unit.file.uri.rpartition("/")[2] for _, unit in again.missing] == ["b.jsonl"]
    _, manifest = label_again(again)
    assert manifest.counts["errors"] == 2  # it has no text still


def test_a_plan_writes_nothing(folder: Path):
    retry(make_plan(job(folder)), PASSING_REASONS)
    assert make_plan(job(folder)).missing == []


def test_what_was_given_up_is_finished_by_any_later_run(folder: Path):
    publish_here(make_plan(job(folder)))
    store_editions(retry(make_plan(job(folder)), PASSING_REASONS))
    plan = make_plan(job(folder))
    assert len(plan.missing) == 1
    label_here(plan)
    assert publish_here(plan).counts["errors"] == 1


@pytest.mark.ray
def test_the_command(ray: None, folder: Path, capsys: pytest.CaptureFixture[str]):
    publish_here(make_plan(job(folder)))
    assert run_job(job(folder), dry_run=True, retry_reason="errors") is None
    assert "1 unit with documents that failed for process_died: tried again" in capsys.readouterr().err
    manifest = run_job(job(folder), retry_reason="errors")
    assert manifest is not None
    assert (manifest.snapshot, manifest.counts["errors"]) == (2, 1)
    assert "2 were taken over, for their texts have scores" in capsys.readouterr().err
    assert run_job(job(folder), retry_reason="errors") == manifest
    assert "no unit has documents that failed for process_died" in capsys.readouterr().err
