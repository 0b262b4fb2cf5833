"""`rookery label`, `rookery errors` and `--explain` with several checkpoints."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from jobs.cli import app
from jobs.label import run_job, run_jobs
from pipeline.config.label import Job
from pipeline.errors import ConfigError, ErrorBudgetError, HeldBackError
from pipeline.planning.plan import make_plan
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots
from tests.labelling import label_here
from tests.several import files_below, label_file, lines, several_jobs, three_checkpoints

GATES = ("gates.min_agreement=100%", "gates.min_documents=1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three checkpoints and a corpus of two files, one of which has a document without text."""
    three_checkpoints(tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.jsonl").write_bytes(lines((f"a{n}", f"a proposal of number {n} " * 40) for n in range(9)))
    (tmp_path / "corpus" / "b.jsonl").write_bytes(lines([("b0", "another proposal"), ("b1", " ")]))
    return tmp_path


def jobs(folder: Path, *overrides: str, names: tuple[str, ...] = ("sample", "same", "other")) -> list[Job]:
    return several_jobs(folder, {name: folder / name for name in names}, "tables", *overrides)


def newest(folder: Path, name: str) -> int:
    latest = Snapshots(Storage(), f"{folder}/tables/{name}").latest()
    return latest.snapshot if latest else 0


def spoil(checkpoint: Path) -> None:
    """Its thresholds take labels away; its scores stay."""
    labels = json.loads((checkpoint / "config.json").read_text())["id2label"].values()
    (checkpoint / "rookery.json").write_text(
        json.dumps(json.loads((checkpoint / "rookery.json").read_text()) | {"thresholds": dict.fromkeys(labels, 0.99)})
    )


@pytest.mark.ray
def test_one_run_gives_what_separate_runs_give(ray: None, folder: Path, capsys: pytest.CaptureFixture[str]):
    """Of two checkpoints that share a tokenizer and one that doesn't; a unit is done in one of the tables."""
    plan = make_plan(jobs(folder)[1])
    label_here(plan)
    Path(plan.fragments.uri(plan.unit_ids[0])).unlink()
    manifests = run_jobs(jobs(folder))
    shown = "".join(capsys.readouterr().err.split())  # long paths are folded
    for name, manifest in zip(("sample", "same", "other"), manifests, strict=True):
        assert manifest is not None
        uri = f"{folder}/tables/{name}"
        assert f"table{uri}units4," in shown
        assert f"Published{uri}snapshot" in shown
        assert re.search(rf"{uri}:100%done;.*\dof\dunits;", shown)
        assert manifest.run["job"]["checkpoint"]["uri"] == str(folder / name)
    assert [manifest.run["work"]["units"] for manifest in manifests if manifest] == [4, 1, 4]
    shutil.move(folder / "tables", folder / "together")
    for job in jobs(folder):
        label_here(make_plan(job))
        assert run_job(job) is not None
    for name in ("sample", "same", "other"):
        assert files_below(folder / "together" / name) == files_below(folder / "tables" / name)
    before = {name: files_below(folder / "tables" / name) for name in ("sample", "same", "other")}
    assert [manifest.snapshot for manifest in run_jobs(jobs(folder)) if manifest] == [1, 1, 1]
    assert {name: files_below(folder / "tables" / name) for name in before} == before


@pytest.mark.ray
def test_a_table_that_is_held_back_keeps_no_other_from_being_published(ray: None, folder: Path):
    label_here(*map(make_plan, jobs(folder, names=("sample",))))
    run_job(jobs(folder, names=("sample",))[0])
    spoil(folder / "sample")
    label_here(*map(make_plan, jobs(folder)))
    with pytest.raises(HeldBackError, match=r"tables/sample: candidate 2 is held back") as held:
        run_jobs(jobs(folder, *GATES))
    assert held.value.exit_code == 6
    assert [newest(folder, name) for name in ("sample", "same", "other")] == [1, 1, 1]
    with pytest.raises(HeldBackError, match=r"tables/sample: candidate 2 is held back"):
        run_jobs(jobs(folder, *GATES))  # without Ray: nothing has changed
    with pytest.raises(ErrorBudgetError) as failed:
        run_jobs(jobs(folder, "max_errors=0", names=("same", "other")))
    assert failed.value.exit_code == 4
    for name in ("same", "other"):
        assert f"tables/{name}: 1 of 11 documents could not be labelled" in str(failed.value)


def shown(folder: Path, *arguments: str) -> str:
    path = folder / "job.yaml"
    file = label_file(folder, {name: folder / name for name in ("sample", "other")}, "tables")
    path.write_text(yaml.safe_dump(file.model_dump(mode="json")))
    command, *options = arguments
    result = CliRunner().invoke(app, [command, "--config", str(path), *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_what_only_looks_looks_at_each_table(folder: Path):
    label_here(*map(make_plan, jobs(folder, names=("sample",))))
    plans = shown(folder, "label", "--dry-run")
    assert [line.split()[1:] for line in plans.splitlines() if line.startswith("units ")] == [
        ["4,", "of", "which", "4", "are", "done"],
        ["4,", "of", "which", "0", "are", "done"],
    ]
    assert not (folder / "tables" / "other").exists()
    errors = shown(folder, "errors")
    assert f"{folder}/tables/sample: errors of 4 finished units" in errors
    assert f"{folder}/tables/other: errors of 0 finished units" in errors
    explained = shown(folder, "label", "--explain", "a1")
    assert explained.count(": a run would have scoring key ") == explained.count("\na1\n") == 2
    assert f"{folder}/tables/other: a run would have scoring key " in explained


def test_a_limit_and_a_retry_hold_for_each_table(folder: Path):
    limited = shown(folder, "label", "--dry-run", "--limit", "3")
    assert limited.count("first 3 documents: the snapshot will be marked as partial") == 2
    label_here(*map(make_plan, jobs(folder, names=("sample", "other"))))
    retried = shown(folder, "label", "--dry-run", "--retry", "empty_text")
    for name in ("sample", "other"):
        assert f"{folder}/tables/{name}: 1 unit with documents that failed for empty_text: tried again" in retried


def test_two_checkpoints_of_one_table_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    job, other = jobs(folder, names=("sample", "other"))
    here = other.model_copy(update={"table": other.table.model_copy(update={"uri": "./tables/sample/"})})
    with pytest.raises(
        ConfigError, match=r"^checkpoints: .*/tables/sample and \./tables/sample/ are one table; give e"
    ):
        run_jobs([job, here])
