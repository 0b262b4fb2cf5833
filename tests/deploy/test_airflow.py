"""The DAG of deploy/airflow, run with Airflow's `dag.test()`: on a real Ray head, and on a stand-in for Kubernetes.

Airflow has an environment of its own, .venv-airflow, which deploy/airflow/setup.sh makes.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from tests.deploy.kubernetes_server import TEMPLATE, Kubernetes, failed, kubernetes_server
from tests.ray_head import RayHead, ray_head

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "deploy" / "airflow"
PYTHON = ROOT / ".venv-airflow" / "bin" / "python"
PROGRAMS = Path(__file__).parent
PATIENCE_SECONDS = 400
EVICTED = {"jobDeploymentStatus": "Failed", "message": "the head was evicted"}
COMPLETE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}

pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="bash deploy/airflow/setup.sh makes .venv-airflow"),
    pytest.mark.ray,
    pytest.mark.timeout(600),  # the first test waits for all nights
]


@dataclass(frozen=True)
class Airflow:
    """An installation with folders of its own, and programs that run in it."""

    folder: Path
    environment: dict[str, str]

    def add(self, dag_id: str, table: Path, entrypoint: str | None = None) -> None:
        """Adds the DAG as somebody would who copies it; with an entrypoint the one for a Ray cluster that is there."""
        text = SOURCES.joinpath("rookery_topics.py").read_text()
        edits = {
            '"rookery_topics"': f'"{dag_id}"',
            '"s3://my-tables/topics"': f'"file://{table}"',
            '"aws_default"': "None",
            "timedelta(minutes=5)": "timedelta(seconds=0)",
        }
        if entrypoint:
            text = text.replace("    label = Rookery", "    # label = Rookery", 1)
            text = text.replace("    # label = RookerySubmit", "    label = RookerySubmit")
            text = text.replace("    #     ", "        ").replace("    # )", "    )")
            edits['"python -m jobs.label --config /etc/rookery/job.yaml",'] = f"{entrypoint!r}, poll_seconds=0.2,"
        else:
            edits['label = RookeryRayJobOperator(task_id="label",'] = (
                'label = RookeryRayJobOperator(poll_seconds=0.2, task_id="label",'
            )
        for old, new in edits.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (self.folder / "dags" / f"{dag_id}.py").write_text(text)

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen([PYTHON, *arguments], env=self.environment, stdout=log, stderr=log)

    def runs(self, *dags: str) -> subprocess.Popen[bytes]:
        return self.start(PROGRAMS / "airflow_runs.py", self.folder / "results", *dags)

    def wait(self, process: subprocess.Popen[bytes]) -> list[Any]:
        """Gives what a program has told, when it has ended."""
        try:
            assert process.wait(timeout=PATIENCE_SECONDS) == 0, self.log()[-20000:]
        finally:
            process.kill()
            process.wait()
        lines = (self.folder / "results").read_text().splitlines()
        (self.folder / "results").unlink()
        return [json.loads(line) for line in lines]

    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def kubernetes() -> Iterator[Kubernetes]:
    with kubernetes_server() as server:
        yield server


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    with ray_head(tmp_path_factory.mktemp("head"), cpus=4) as head:
        yield head


@pytest.fixture(scope="module")
def airflow(kubernetes: Kubernetes, head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "dags").mkdir()
    (folder / "plugins").mkdir()
    for module in ("rookery_airflow.py", "rookery_clusters.py"):
        shutil.copy(SOURCES / module, folder / "plugins")
    named = [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{kubernetes.server_port}"}}]
    users = [{"name": "it", "user": {"token": "of-kubernetes"}}]
    contexts = [{"name": "it", "context": {"cluster": "it", "user": "it"}}]
    config = {"clusters": named, "users": users, "contexts": contexts, "current-context": "it"}
    on_ray = {"conn_type": "http", "host": "127.0.0.1", "port": head.port, "password": head.token}
    on_kubernetes = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(config)}}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))}
    settings = {
        "AIRFLOW_HOME": f"{folder}",
        "AIRFLOW__CORE__DAGS_FOLDER": f"{folder}/dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": f"{folder}/plugins",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_RAY_DEFAULT": json.dumps(on_ray),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(on_kubernetes),
        "NO_PROXY": "127.0.0.1",
    }
    return Airflow(folder, environment | settings)


@pytest.fixture(scope="module")
def label_command(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Labels five documents of the sample into the table beside the job file."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "corpus").mkdir()
    pq.write_table(pq.read_table(CORPUS / "validation.parquet").slice(0, 5), folder / "corpus" / "a.parquet")
    (folder / "job.yaml").write_text(
        f"corpus: {{uris: {folder}/corpus, id_column: id}}\n"
        f"checkpoint: {{uri: {CHECKPOINT}}}\ntable: {{uri: {folder}/table}}\n"
        "compute: {num_cpus: 1}\n"
    )
    return f"cd {ROOT} && python -m jobs.label --config {folder}/job.yaml"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def nights(airflow: Airflow, head: RayHead, kubernetes: Kubernetes, label_command: str) -> dict[str, Any]:
    """A night of each DAG. That of `ray_killed` is begun by an Airflow that is killed before its job ends."""
    table = Path(label_command.partition("--config ")[2]).with_name("table")
    folder = airflow.folder
    for dag, entrypoint in {
        "ray_killed": f"until [ -e {folder}/gate ]; do sleep 0.1; done",
        "ray_published": label_command,
        "ray_again": f"if mkdir {folder}/first; then exit 75; fi",
        "ray_budget": "exit 7",
        "ray_wrong": "echo table.uri is missing; exit 2",
    }.items():
        airflow.add(dag, table, entrypoint)
    kubernetes.endings = {
        "k8s_unchanged": [EVICTED | {"jobId": "of-tonight"}],
        "k8s_again": [failed(75), EVICTED, COMPLETE],
        "k8s_held": [failed(6)],
        "k8s_wrong": [failed(2)],
    }
    for dag in kubernetes.endings:
        airflow.add(dag, folder / dag)
    for run_id, job in {"20261127T020000Z-a": "of-tonight", "20261127T020001Z-b": "of-somebody-else"}.items():
        record = {"run_id": run_id, "outcome": "unchanged", "exit_code": 0, "submission_id": job}
        summary = folder / "k8s_unchanged" / "_runs" / run_id / "summary.json"
        summary.parent.mkdir(parents=True)
        summary.write_text(json.dumps(record))

    killed = airflow.runs("ray_killed")
    wait_until(lambda: killed.poll() is not None or "running trigger in line" in airflow.log())
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, airflow.log()
    dags = [path.stem for path in (folder / "dags").glob("*.py")]
    running = airflow.runs(*sorted(dags, key=lambda dag: dag != "ray_killed"))
    wait_until(lambda: running.poll() is not None or "Found ray-killed-" in airflow.log())
    (folder / "gate").touch()
    return {night["dag"]: night for night in airflow.wait(running)}


def ends_of(night: dict[str, Any]) -> dict[str, str]:
    """The tasks of a night after `outcome` that were not skipped, with their states."""
    tasks = {task: state for task, (state, _) in night["tasks"].items() if task not in ("label", "outcome")}
    return {task: state for task, state in tasks.items() if state != "skipped"}


def jobs_of(head: RayHead, run: str) -> list[str]:
    ids = [job["submission_id"] for job in head.ask("/api/jobs/")]
    return sorted(id_ for id_ in ids if id_ and id_.startswith(run))


def test_the_files_are_read_without_a_warning(airflow: Airflow):
    """As they are: with the operator for Kubernetes, and a table on S3."""
    alone = Airflow(airflow.folder / "alone", dict(airflow.environment))
    (alone.folder / "dags").mkdir(parents=True)
    shutil.copy(SOURCES / "rookery_topics.py", alone.folder / "dags")
    alone.environment["AIRFLOW__CORE__DAGS_FOLDER"] = f"{alone.folder}/dags"
    [read] = alone.wait(alone.runs())
    tasks = ["budget_spent", "held_back", "label", "outcome", "published", "unchanged"]
    assert read == {"dags": {"rookery_topics": tasks}, "errors": {}, "warnings": {}}


def test_a_new_snapshot_is_published_and_told(nights: dict[str, Any], label_command: str):
    night = nights["ray_published"]
    assert night["state"] == "success"
    assert ends_of(night) == {"published": "success"}
    table = Path(label_command.partition("--config ")[2]).with_name("table")
    [summary] = (table / "_runs").glob("*/summary.json")
    written = json.loads(summary.read_text())
    assert written["submission_id"] == night["summary"].pop("job")
    assert night["summary"] == {"message": night["summary"]["message"]} | written
    [[asset, extra]] = night["events"]
    assert asset == f"file://{table}"
    assert (extra["snapshot"], extra["documents"]) == (1, 5)
    glob = f"{table}/data/snapshot=00000000000000000001/**/*.parquet"
    assert duckdb.sql(f"select count(distinct id) from '{glob}'").fetchall() == [(5,)]


def test_the_table_s_word_counts_where_the_cluster_is_lost_after_the_run(nights: dict[str, Any]):
    night = nights["k8s_unchanged"]
    assert night["tasks"]["label"] == ["success", 1]
    assert night["state"] == "success"
    assert ends_of(night) == {"unchanged": "success"}
    assert night["summary"]["run_id"] == "20261127T020000Z-a"
    assert night["events"] == []


@pytest.mark.parametrize(("dag", "tries"), [("ray_again", 2), ("k8s_again", 3)])
def test_75_and_lost_clusters_are_tried_again(
    nights: dict[str, Any], head: RayHead, kubernetes: Kubernetes, dag: str, tries: int
):
    night = nights[dag]
    assert night["tasks"]["label"] == ["success", tries]
    assert ends_of(night) == {"published": "success"}
    run, _, number = night["summary"]["job"].rpartition("-")
    assert number == str(tries)
    jobs = jobs_of(head, run) if dag == "ray_again" else sorted(name for name in kubernetes.rayjobs if run in name)
    assert jobs == [f"{run}-{number}" for number in range(1, tries + 1)]


def test_a_candidate_that_is_held_back_is_an_outcome_of_its_own(nights: dict[str, Any]):
    night = nights["k8s_held"]
    assert night["tasks"]["label"] == ["success", 1]
    assert ends_of(night) == {"held_back": "failed"}
    assert night["tasks"]["held_back"] == ["failed", 1]
    assert night["state"] == "failed"
    assert night["events"] == []


def test_a_budget_that_is_spent_is_no_failure(nights: dict[str, Any]):
    night = nights["ray_budget"]
    assert night["state"] == "success"
    assert night["tasks"]["label"] == ["success", 1]
    assert ends_of(night) == {"budget_spent": "success"}
    assert night["events"] == []


@pytest.mark.parametrize("dag", ["ray_wrong", "k8s_wrong"])
def test_a_mistake_is_not_tried_again(nights: dict[str, Any], airflow: Airflow, dag: str):
    night = nights[dag]
    assert night["state"] == "failed"
    assert night["tasks"]["label"] == ["failed", 1]
    assert set(ends_of(night).values()) == {"upstream_failed"}
    assert "ended with exit code 2" in airflow.log()


def test_a_try_whose_worker_is_killed_finds_the_job(nights: dict[str, Any], head: RayHead):
    night = nights["ray_killed"]
    assert night["state"] == "success"
    assert jobs_of(head, "ray-killed-") == [night["summary"]["job"]]


def test_a_rayjob_is_the_template_under_the_runs_name(nights: dict[str, Any], kubernetes: Kubernetes):
    name = nights["k8s_held"]["summary"]["job"]
    assert re.fullmatch(r"k8s-held-20261127t0200-[0-9a-f]{6}-1", name)
    assert kubernetes.rayjobs[name] == {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/part-of": "rookery", "rookery/airflow-run": name.removesuffix("-1")},
        },
        "spec": TEMPLATE["spec"] | {"suspend": False},
        "status": failed(6),
    }
    assert kubernetes.refused == []


def test_who_is_killed_and_what_becomes_of_the_job(airflow: Airflow, nights: dict[str, Any]):
    [facts] = airflow.wait(airflow.start(PROGRAMS / "airflow_kills.py", airflow.folder / "results"))
    run = facts["run"]
    assert facts["first"] == [f"{run}-1", True, "ended"]
    assert facts["lives_after_triggerer"]
    assert facts["second"] == [f"{run}-1", False]
    event = facts["event"]
    assert (event["exit_code"], event["job"], event["is_own"]) == (143, f"{run}-1", False)
    assert facts["third"] == [f"{run}-2", True]  # what was being stopped when it was found has a successor
    assert facts["event_after_on_kill"] == 143
