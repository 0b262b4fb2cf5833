"""`rookery doctor` as a person or a program calls it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from jobs.checks.ray_cluster import ray_environment
from jobs.cli import app
from jobs.sample import CHECKPOINT, CORPUS

SUBJECTS = [
    "Python",
    "libraries",
    "CPU",
    "CPU kernels",
    "memory",
    "GPU",
    "temporary folder",
    "hub's cache",
    "shared memory",
]


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def doctor(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["doctor", *arguments])


def findings(result: Result) -> dict[str, dict[str, Any]]:
    return {finding["subject"]: finding for finding in json.loads(result.stdout)}


def job_file(tmp_path: Path, **sections: dict[str, Any]) -> str:
    tree = {
        "corpus": {"uris": str(CORPUS), "id_column": "id"},
        "checkpoint": {"uri": str(CHECKPOINT)},
        "table": {"uri": str(tmp_path / "table")},
        "compute": {"num_cpus": 1},
    }
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(tree | sections))  # which is YAML too
    return str(path)


def test_this_machine():
    result = doctor("--format", "json")
    assert result.exit_code == 0, result.output
    assert list(findings(result)) == [*SUBJECTS, "Ray's environment"]
    assert {finding["state"] for finding in findings(result).values()} <= {"ok", "warning"}


def test_a_job_that_will_run(tmp_path: Path):
    result = doctor("--config", job_file(tmp_path))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "✓ job file" in lines[0]
    for line in ("✓ corpus.uris       3 files, 2.2 MB", "✓ checkpoint.uri", "✓ put if absent     a second", "✓ Ray  "):
        assert sum(shown.startswith(line) for shown in lines) == 1, result.stdout
    assert "(parquet), and can be read" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path):
    shutil.copytree(CHECKPOINT, tmp_path / "corrupt")
    weights = tmp_path / "corrupt/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    wrong = job_file(
        tmp_path,
        corpus={"uris": f"{tmp_path}/none/*.parquet"},
        checkpoint={"uri": str(tmp_path / "corrupt")},
        table={"uri": "/proc/1/table"},
        compute={"num_gpus": 1, "actors": 1000},
    )
    result = doctor("--config", wrong, "--format", "json")
    assert result.exit_code == 2, result.output
    failed = {subject: finding for subject, finding in findings(result).items() if finding["state"] == "failure"}
    assert list(failed) == ["GPU", "corpus.uris", "checkpoint.uri", "table.uri", "Ray"]
    assert "no file matches" in failed["corpus.uris"]["seen"]
    assert "model.safetensors" in failed["checkpoint.uri"]["seen"]
    assert all(finding["advice"] for finding in failed.values())
    text = doctor("--config", wrong)
    assert text.exit_code == 2
    assert text.stdout.count("✗") == 5
    assert text.stdout.splitlines()[-1] == "5 failures"


def test_a_job_file_that_is_wrong_keeps_nothing_else_from_being_looked_at(tmp_path: Path):
    result = doctor("--config", job_file(tmp_path), "--set", "tabel.uri=x")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[0].startswith("✗ job file")
    assert "expected one of corpus, checkpoint" in " ".join(result.stdout.split())
    assert "✓ Python" in result.stdout


def test_ray_without_its_token(tmp_path: Path):
    token = {"RAY_AUTH_MODE": "token"}
    assert ray_environment(token, tmp_path).state == "failure"
    assert ray_environment(token | {"RAY_AUTH_TOKEN": "secret"}, tmp_path).seen.endswith("a token from RAY_AUTH_TOKEN")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("secret")
    assert ray_environment(token, tmp_path).seen.endswith(f"a token from {tmp_path}/.ray/auth_token")
    assert ray_environment({"RAY_ADDRESS": "head:6379"}, tmp_path).seen == "RAY_ADDRESS is head:6379, no token"


@pytest.mark.ray
def test_a_cluster_that_is_too_small(tmp_path: Path, ray_address: str):
    result = doctor(
        "--config", job_file(tmp_path, ray={"address": ray_address}, compute={"num_cpus": 999}), "--format", "json"
    )
    assert result.exit_code == 2
    cluster, room = findings(result)["Ray cluster"], findings(result)["its room"]
    assert (cluster["state"], room["state"]) == ("ok", "failure")
    assert ", as here; " in cluster["seen"]
    assert room["advice"].startswith("set compute.num_cpus or compute.actors lower")
