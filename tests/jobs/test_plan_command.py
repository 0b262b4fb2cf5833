"""`rookery plan`, from the command line to what the next run keeps of it."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import jobs.plan as plan_command
from jobs.cli import app
from jobs.run_recorder import RunRecorder
from jobs.sample import CHECKPOINT, CORPUS
from pipeline.cluster.connection import actor_threads
from pipeline.config.label import Job, load_job
from pipeline.cores import processor_name
from pipeline.planning.plan import plan_of
from pipeline.planning.survey import make_survey
from pipeline.runs.actor_speed import SpeedTrial
from pipeline.runs.run_estimate import StoredEstimate
from pipeline.runs.run_record import RunRecord, RunRecords, new_run_id
from pipeline.storage.objects import Storage
from tests.jobs.reporting import run_here
from tests.labelling import label_here


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    documents = pq.read_table(CORPUS / "test.parquet").slice(0, 12)
    (tmp_path / "corpus").mkdir()
    pq.write_table(documents, tmp_path / "corpus/a.parquet", row_group_size=4)
    (tmp_path / "job.yaml").write_text(
        f"corpus: {{uris: {tmp_path}/corpus, id_column: id}}\ncheckpoint: {{uri: {CHECKPOINT}}}\n"
        f"table: {{uri: {tmp_path}/table}}\nunits: {{text_bytes: 30kB}}\ncompute: {{num_cpus: 1, token_budget: 2048}}\n"
        "price: 2.5\n"
    )
    return tmp_path / "job.yaml"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_command, "SpeedTrial", partial(SpeedTrial, seconds=0.1))


def called(job_file: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["plan", "--config", str(job_file), *options], env={"COLUMNS": "80"})


def as_json(job_file: Path, *options: str) -> dict[str, Any]:
    result = called(job_file, "--format", "json", *options)
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    tree: dict[str, Any] = json.loads(line)
    return tree


def has_run(job: Job, tokens: int, seconds: float) -> RunRecord:
    """Leaves the record of a run that was as fast."""
    survey, now = make_survey(job), datetime.now(UTC)
    record = RunRecord(
        run_id=new_run_id(now.timestamp()),
        table=job.table.uri,
        state="ended",
        started_at=now,
        updated_at=now,
        scoring_key=survey.scorer.scoring.key,
        actor_cpus=actor_threads(job.compute),
        actor_gpus=0,
        devices={processor_name(): 1},
        progress={"tokens": tokens, "actors": 1},
        stage_seconds={"encode": seconds, "wait": 0.0},
        actor_hours=(seconds + 10) / 3600,
    )
    RunRecords(survey.storage, job.table.uri).write_summary(record)
    return record


@pytest.mark.ray
@pytest.mark.usefixtures("quick", "ray")
def test_it_says_what_a_run_takes_and_starts_none(job_file: Path, tmp_path: Path):
    result = called(job_file)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80  # but for the command, which is to be copied
    assert f"of one actor on {processor_name()}, measured now" in " ".join(result.stdout.split())
    assert ["documents", "12", "exact"] in lines
    for name in ("tokens", "windows", "actor-hours", "cost", "per", "storage", "sample", "speed"):
        assert any(line[:1] == [name] for line in lines), name
    assert f"Nothing was started: `rookery label --config {job_file}` does it." in result.stdout
    assert [path.name for path in (tmp_path / "table").rglob("*") if path.is_file()] == ["estimate.json"]


def test_figures_follow_from_the_sample_and_a_recorded_speed(job_file: Path):
    job = load_job(job_file)
    record = has_run(job, tokens=1_000_000, seconds=100)
    estimate = as_json(job_file, "--set", "compute.actors=2")
    plan = plan_of(make_survey(job))
    units = label_here(plan)
    tokens = sum(unit.tokens for unit in units)
    assert (estimate["tokens"]["value"], estimate["units"], estimate["missing"]) == (tokens, len(units), len(units))
    assert estimate["windows"]["value"] == sum(unit.windows for unit in units)
    assert (estimate["speed_run"], estimate["tokens_per_second"]["value"]) == (record.run_id, 10_000)
    hours = (tokens / 10_000 + 2 * 10) / 3600
    assert estimate["actor_hours"]["value"] == pytest.approx(hours)
    assert estimate["seconds"]["value"] == pytest.approx(hours * 3600 / 2)
    assert estimate["usd"]["value"] == pytest.approx(2.5 * hours)
    assert estimate["usd_per_billion_tokens"]["value"] == pytest.approx(2.5 * hours / tokens * 1e9)
    assert estimate["usd"]["low"] < estimate["usd"]["value"] < estimate["usd"]["high"]
    stored = sum(path.stat().st_size for path in Path(plan.fragments.folder).rglob("*.parquet"))
    assert stored < estimate["storage_bytes"] < 3 * stored  # the rows once more, in a snapshot
    after = as_json(job_file)  # all is done: nothing is left to take
    assert (after["missing"], after["done"], after["tokens"]["value"]) == (0, len(units), 0)
    assert f"No unit is missing: `rookery label --config {job_file}` computes nothing." in called(job_file).stdout


def test_only_what_is_missing_is_counted(job_file: Path):
    job = load_job(job_file)
    has_run(job, tokens=1_000_000, seconds=100)
    whole = as_json(job_file)
    first = plan_of(make_survey(job))
    units = label_here(first)
    fragment = Path(first.fragments.uri(units[0].unit))
    fragment.unlink()
    rest = as_json(job_file)
    assert (rest["missing"], rest["done"]) == (1, len(units) - 1)
    assert rest["tokens"]["value"] == units[0].tokens < whole["tokens"]["value"]


def test_the_run_that_does_it_keeps_the_estimate_and_no_other_run(job_file: Path):
    job = load_job(job_file)
    has_run(job, tokens=1_000_000, seconds=100)
    as_json(job_file)
    kept = StoredEstimate(Storage(), job.table.uri).read()
    assert kept is not None
    run = run_here(job)
    estimate, progress = run.record.estimate, run.record.progress
    assert estimate == kept.expected()
    assert estimate is not None
    assert progress is not None
    assert {"documents", "tokens", "windows", "units", "actor_hours", "seconds", "usd", "storage_bytes"} <= {*estimate}
    for name in ("documents", "tokens", "windows"):
        assert estimate[name]["value"] == progress[name], name
    Path(run.plan.fragments.uri(run.plan.unit_ids[0])).unlink()
    survey, recorder = make_survey(job), RunRecorder([job], dry_run=False)
    recorder.planned(plan_of(survey), survey.digest)
    assert recorder.records[job.table.uri].estimate is None  # less is missing by now


@pytest.mark.ray
@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    ("option", "kind", "words"),
    [
        ("budget.usd=0.001", "budget", "budget.usd 0.001: about 0.0"),
        ("budget.tokens=10", "budget", "a run ends with exit code 7 after about 0%"),
        ("compute.num_cpus=10000", "cluster", "would compute in 10000 threads"),
        ("compute.num_gpus=1", "cluster", "the job needs 1 encoder actor of 1 CPU and 1 GPU"),
    ],
)
def test_what_a_job_can_t_have_is_a_warning(job_file: Path, option: str, kind: str, words: str):
    has_run(load_job(job_file), tokens=1_000_000, seconds=100)
    estimate = as_json(job_file, "--set", option)
    assert [name for name, _ in estimate["warnings"]] == [kind]
    assert words in estimate["warnings"][0][1]
    assert ("actor_hours" in estimate) == (kind == "budget")


@pytest.mark.parametrize(
    ("option", "code"), [("compute.actor=1", 2), ("corpus.uris=/nowhere/*.parquet", 3), ("corpus.text_column=body", 3)]
)
def test_what_is_wrong_has_the_exit_code_of_its_kind(job_file: Path, option: str, code: int, tmp_path: Path):
    error = called(job_file, "--set", option).exception
    assert getattr(error, "exit_code", None) == code
    assert not (tmp_path / "table").exists()
