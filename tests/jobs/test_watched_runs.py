"""What a run tells of itself: its summary, its record in the table, `rookery status`, and its budget's end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.label import run_job, run_jobs
from jobs.run_recorder import RunRecorder
from jobs.terminal.run_log import run_log
from pipeline.errors import BudgetSpentError, CorpusError, StorageError
from pipeline.planning.plan import make_plan
from pipeline.runs.run_record import RunRecord
from pipeline.storage.objects import Storage
from tests.jobs.corpora import documents, write_every_format
from tests.jobs.test_label import job, job_file, rookery
from tests.labelling import label_here


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A command chooses how its process tells of a run; the next test's may be of this one."""
    yield
    run_log.use("text")


def summaries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "table/_runs").glob("*/summary.json"))]


@pytest.mark.ray
def test_the_first_nights_of_a_job(ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The doctor, an estimate, a run whose budget ends first, the run that goes on, and what is told of them."""
    write_every_format(tmp_path / "corpus", documents(20))
    settings = ["units.text_bytes=3000", "price=2", "tags={team: search}", "compute.num_cpus=1"]
    units = len(make_plan(job(tmp_path, *settings)).units)
    path = job_file(tmp_path / "job.yaml", job(tmp_path, *settings))
    for command in ("doctor", "plan"):
        looked = CliRunner().invoke(app, [command, "--config", path])
        assert looked.exit_code == 0, looked.output
    told: list[RunRecord] = []
    with pytest.raises(BudgetSpentError, match=r"budget.tokens 1: [\d,]+ used, and \d+ of \d+ units of .*run again"):
        run_jobs([job(tmp_path, *settings, "budget.tokens=1")], tell=told.append)
    kept = {path: path.stat().st_ino for path in (tmp_path / "table").glob("_units/*/*/*.parquet")}
    assert 0 < len(kept) < units
    assert not (tmp_path / "table/_snapshots").exists()
    assert not list((tmp_path / "table").glob("_units/*/runs/*"))  # nobody is asked to stop any more
    [ended] = summaries(tmp_path)
    assert (ended["outcome"], ended["exit_code"], ended["tags"]) == ("budget_spent", 7, {"team": "search"})
    assert ended["progress"]["units"] == len(kept)
    estimate, computed_first = ended["estimate"], ended["progress"]["tokens"]
    assert estimate["documents"]["value"] == pytest.approx(20, abs=0.5)
    assert "Budget spent" in Path(ended["report"]).read_text()
    assert [json.loads(record.line()) for record in told] == [ended]

    manifest = run_job(job(tmp_path, *settings, "budget.tokens=1000000000"))
    assert manifest is not None
    assert manifest.counts["documents"] == 20
    assert {path: path.stat().st_ino for path in kept} == kept
    ended = summaries(tmp_path)[1]
    assert (ended["outcome"], ended["snapshot"], ended["documents"]) == ("published", 1, 20)
    assert (manifest.run["run_id"], manifest.run["tags"]) == (ended["run_id"], {"team": "search"})
    computed = ended["progress"]
    # both runs' together, of which the estimate saw every document
    assert estimate["tokens"]["value"] == pytest.approx(computed_first + computed["tokens"], rel=0.01)
    assert "Published" in Path(ended["report"]).read_text()
    assert computed["tokens"] == manifest.run["work"]["tokens"]
    assert ended["usd"] == pytest.approx(2 * ended["actor_hours"], rel=1e-4)
    assert ended["usd_per_billion_tokens"] == pytest.approx(ended["usd"] / computed["tokens"] * 1e9, rel=1e-4)
    assert set(ended["stage_seconds"]) == {"read", "text", "encode", "write", "wait"}
    assert ended["stage_seconds"]["encode"] > 0
    assert "100% done; " in capsys.readouterr().err

    shown = CliRunner(env={"COLUMNS": "150"}).invoke(app, ["status", f"{tmp_path}/table"]).output
    first, second = shown.split("budget spent")
    assert "published" in first
    assert f"snapshot  1: 20 documents, {manifest.counts['predictions']} predictions" in first
    assert "why       budget.tokens 1: " in second


def test_standard_output_is_the_summary_alone(tmp_path: Path):
    write_every_format(tmp_path / "corpus", documents(5))
    path = job_file(tmp_path / "job.yaml", job(tmp_path, "max_errors=100%"))
    label_here(make_plan(job(tmp_path)))
    for options in (["--dry-run"], ["--dry-run", "--log-format", "json"]):
        ended = CliRunner().invoke(app, ["label", "--config", path, *options])
        assert ended.exit_code == 0, ended.output
        [line] = ended.stdout.splitlines()
        assert json.loads(line)["outcome"] == "planned"
        assert bool(ended.stderr.strip()) == (len(options) == 1)
    assert not (tmp_path / "table/_runs").exists()  # a dry run writes nothing


def test_a_mistake_makes_no_table_and_is_kept_in_one_that_is_there(tmp_path: Path):
    with pytest.raises(CorpusError):
        run_job(job(tmp_path, f"corpus.uris={tmp_path}/nothing/*"))
    assert not (tmp_path / "table").exists()
    (tmp_path / "table").mkdir()
    with pytest.raises(CorpusError):
        run_job(job(tmp_path, f"corpus.uris={tmp_path}/nothing/*"))
    [ended] = summaries(tmp_path)
    assert (ended["outcome"], ended["exit_code"]) == ("failed", 3)
    assert "no file matches" in ended["message"]


def test_a_record_that_can_t_be_written_keeps_no_run_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write_every_format(tmp_path / "corpus", documents(5))
    (tmp_path / "table").mkdir()
    put = Storage.put

    def failing(storage: Storage, uri: str, data: bytes) -> None:
        if "/_runs/" in uri:
            raise StorageError(f"{uri}: no space left")
        put(storage, uri, data)

    monkeypatch.setattr(Storage, "put", failing)
    with pytest.raises(CorpusError):
        run_job(job(tmp_path, f"corpus.uris={tmp_path}/nothing/*"))
    assert "the run's record can't be written: " in " ".join(capsys.readouterr().err.split())


def test_events_are_json_to_the_last(tmp_path: Path):
    missing = job(tmp_path, f"corpus.uris={tmp_path}/nothing/*")
    ended = rookery("label", "--config", job_file(tmp_path / "job.yaml", missing), "--log-format", "json")
    assert ended.returncode == 3
    [event] = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (event["event"], event["exit_code"]) == ("end", 3)
    assert json.loads(ended.stdout)["message"] in event["message"]


def test_a_table_without_a_run_says_so(tmp_path: Path):
    ended = CliRunner().invoke(app, ["status", f"{tmp_path}/nothing"])
    assert "no run has left a record there; expected the folder that table.uri" in str(ended.exception)


def test_a_submitted_run_tells_rays_name_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told: dict[str | None, dict[str, Any]] = {None: {}, "night-1": {"metadata": {"job_submission_id": "night-1"}}}
    for id_, config in told.items():
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))
        [record] = RunRecorder([job(tmp_path)], dry_run=True).records.values()
        assert record.submission_id == id_
