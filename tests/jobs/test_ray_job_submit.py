"""`ray job submit` as docs/deploy/ray-cluster.md has it, to a real Ray head behind a token that has the wheel."""

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.processes import family, kill_processes
from pipeline.runs.run_record import RunRecord
from pipeline.ticking import every
from tests.conftest import ROOT
from tests.deploy.monitoring import metrics_asked, needs_promtool, promtool
from tests.docs.pages import blocks
from tests.processes import LOOPBACK, listening_addresses
from tests.s3 import free_ports
from tests.wheels import built_wheel, copied_checkout, installed

pytestmark = pytest.mark.ray
PATIENCE_SECONDS = 90
FROM_CHECKOUT, FROM_WHEEL = "--working-dir .", "--working-dir jobs-of-mine"


def documented(command: str) -> str:
    """The line of the page that begins so."""
    lines = [
        line
        for block in blocks("bash")
        if block.page == "docs/deploy/ray-cluster.md"
        for line in block.text.splitlines()
    ]
    return next(line for line in lines if line.startswith(command))


@dataclass(frozen=True)
class Head:
    """A Ray head, and who may submit to it."""

    address: str
    environment: dict[str, str]
    token: str
    metrics_port: int
    checkout: Path

    def submit(self, folder: Path, working_dir: str) -> str:
        """Types the page's command in a folder; returns what it shows."""
        submitted = subprocess.run(
            ["bash", "-c", documented(f"ray job submit {working_dir}")],
            cwd=folder,
            env=self.environment | {"RAY_ADDRESS": self.address},
            text=True,
            capture_output=True,
            timeout=200,
            check=False,
        )
        assert submitted.returncode == 0, submitted.stdout + submitted.stderr
        return submitted.stdout

    def metrics_page(self) -> str:
        """What Prometheus gets, which has no token. Raises OSError where nobody answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30) as page:
            return str(page.read(), "utf-8")

    def ask(self, path: str, body: dict[str, str] | None = None, token: str | None = None) -> Any:
        """The job API's answer. Raises PermissionError where the token is not the head's, OSError where no head is."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = json.dumps(body).encode() if body else None
        try:
            with urllib.request.urlopen(urllib.request.Request(self.address + path, data, headers), timeout=30) as it:
                return json.load(it)
        except urllib.error.HTTPError as error:
            error.close()
            raise PermissionError(error.code) from error


@pytest.fixture(scope="module")
def rays_folder() -> Iterator[Path]:
    """Short, for sockets lie in it. Jobs look there for their cluster: in /tmp/ray they may find another test's."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, rays_folder: Path) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    (folder / "checkout").mkdir()
    checkout = copied_checkout(folder / "checkout")
    packages = installed(built_wheel(checkout, folder), folder / "venv")
    shutil.rmtree(checkout / "build", ignore_errors=True)
    programs = packages.parents[2] / "bin"
    (programs / "ray").write_text(f"#!{programs}/python\nfrom ray.scripts.scripts import main\nmain()\n")
    (programs / "ray").chmod(0o755)
    with (checkout / "jobs" / "__init__.py").open("a") as module:
        module.write('print("this is the checkout")\n')  # tells it from the wheel
    lines = [documented(f"export {name}=") for name in ("RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))} | {
        "HOME": str(folder),  # the token's
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        **dict(line.removeprefix("export ").split("=") for line in lines),
    }
    subprocess.run(["bash", "-c", documented("ray get-auth-token")], env=environment, check=True, capture_output=True)
    gcs_port, dashboard_port, agent_port, metrics_port = free_ports(4)
    command = [
        *shlex.split(documented("ray start")),
        f"--temp-dir={rays_folder}",
        f"--port={gcs_port}",
        f"--dashboard-port={dashboard_port}",
        f"--dashboard-agent-listen-port={agent_port}",
        f"--metrics-export-port={metrics_port}",
        "--num-cpus=2",
        "--object-store-memory=300000000",
    ]
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    token = (folder / ".ray" / "auth_token").read_text().strip()
    head = Head(f"http://127.0.0.1:{dashboard_port}", environment, token, metrics_port, checkout)
    try:
        _wait_for(head, process, folder / "head.log")
        assert set(listening_addresses(family(process.pid))) <= LOOPBACK
        yield head
    finally:
        kill_processes(reversed(family(process.pid)))
        process.wait()


def _wait_for(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            head.ask("/api/jobs/", token=head.token)
            return
        time.sleep(0.2)
    raise AssertionError(f"the Ray head did not start:\n{log.read_text()}")


def write_job(folder: Path, data: Path) -> None:
    """A job file in a folder, whose corpus, checkpoint and table are in another."""
    (data / "corpus").mkdir()
    pq.write_table(pq.read_table(CORPUS / "validation.parquet").slice(0, 5), data / "corpus" / "a.parquet")
    shutil.copytree(CHECKPOINT, data / "checkpoint")
    (folder / "job.yaml").write_text(
        f"corpus: {{uris: {data}/corpus, id_column: id}}\n"
        f"checkpoint: {{uri: {data}/checkpoint}}\ntable: {{uri: {data}/table}}\ncompute: {{num_cpus: 1}}\n"
        "tags: {team: search}\n"
    )


def labelled(data: Path) -> int:
    glob = f"{data}/table/data/snapshot=00000000000000000001/**/*.parquet"
    ((count,),) = duckdb.sql(f"select count(distinct id) from '{glob}'").fetchall()
    return int(count)


def test_from_a_checkout(head: Head, tmp_path: Path):
    write_job(head.checkout, tmp_path)
    shown = head.submit(head.checkout, FROM_CHECKOUT)
    assert "this is the checkout" in shown
    assert "Published" in shown
    assert labelled(tmp_path) == 5


@dataclass
class Submission:
    """What was submitted from the wheel: its data, what it showed, and Ray's metrics, scraped meanwhile."""

    data: Path
    shown: str
    pages: list[str]

    @property
    def summary(self) -> RunRecord:
        line = next(line for line in self.shown.splitlines() if line.startswith('{"run_id"'))
        return RunRecord.model_validate_json(line)

    @cached_property
    def samples(self) -> list[Sample]:
        """Every sample of every page, the newest last."""
        families = [family for page in self.pages for family in text_string_to_metric_families(page)]
        return [sample for family in families for sample in family.samples]

    def values(self, metric: str) -> dict[str, float]:
        """The last values of one of the run's metrics, by its label `stage` or `outcome`."""
        return {
            sample.labels.get("stage", sample.labels.get("outcome", "")): sample.value
            for sample in self.samples
            if sample.name == metric and sample.labels.get("table") == f"{self.data}/table"
        }


@pytest.fixture(scope="module")
def from_wheel(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    data, pages = tmp_path_factory.mktemp("from-wheel"), list[str]()
    (data / "home" / "jobs-of-mine").mkdir(parents=True)
    write_job(data / "home" / "jobs-of-mine", data)

    def scrape() -> None:
        with contextlib.suppress(OSError):  # on a busy machine the next one does
            pages.append(head.metrics_page())

    with every(5.0, scrape):
        shown = head.submit(data / "home", FROM_WHEEL)
    return Submission(data, shown, [*pages, head.metrics_page()])


def test_from_the_wheel(from_wheel: Submission):
    assert "this is the checkout" not in from_wheel.shown
    assert "Published" in from_wheel.shown
    assert labelled(from_wheel.data) == 5


def test_every_metric_that_is_asked_for_is_scraped_from_a_run(from_wheel: Submission):
    """Those of GPUs are not, where there is none: they are among those that this Ray knows."""
    missing = metrics_asked() - {sample.name for sample in from_wheel.samples}
    assert missing <= {"ray_node_gpus_utilization", "ray_node_gram_used", "ray_node_gram_available"}
    assert {name.removeprefix("ray_") for name in missing} <= set(METRICS_GAUGES)


def test_what_is_scraped_is_what_the_run_says_of_itself(from_wheel: Submission):
    progress, seconds = from_wheel.summary.progress, from_wheel.summary.stage_seconds
    assert progress is not None
    for metric, figure in [
        ("ray_rookery_units_total", "units"),
        ("ray_rookery_documents_total", "documents"),
        ("ray_rookery_errors_total", "errors"),
        ("ray_rookery_taken_over_documents_total", "taken_over"),
        ("ray_rookery_tokens_total", "tokens"),
    ]:
        assert from_wheel.values(metric)[""] == pytest.approx(progress[figure], abs=1e-9), metric
    assert from_wheel.values("ray_rookery_stage_seconds_total") == pytest.approx(seconds, abs=0.001)
    assert from_wheel.values("ray_rookery_unit_seconds_count")["encode"] == progress["units"]
    assert from_wheel.values("ray_rookery_runs_total") == {"published": 1}
    assert from_wheel.values("ray_rookery_units_left") == {"": 0}


def test_labels_are_few_and_tags_are_among_them(from_wheel: Submission):
    labels = [sample.labels for sample in from_wheel.samples if sample.name.startswith("ray_rookery_")]
    ours = {"table", "checkpoint", "stage", "outcome", "le", "tag_team"}
    of_ray = {"Component", "NodeAddress", "SessionName", "Version", "WorkerId"}
    assert {key for each in labels for key in each if not key.startswith("otel_")} == ours | of_ray
    assert {each["tag_team"] for each in labels} == {"search"}


@needs_promtool
def test_promtool_finds_fault_with_rays_labels_alone(from_wheel: Submission):
    lines = [line for line in from_wheel.pages[-1].splitlines(keepends=True) if "ray_rookery_" in line]
    faults = promtool("check", "metrics", text="".join(lines)).stderr.splitlines()
    of_ray = "label names should be written in 'snake_case' not 'camelCase'"  # NodeAddress
    assert {fault.partition(" ")[2] for fault in faults} == {of_ray}


def test_nobody_submits_without_the_token(head: Head):
    for token in (None, "0" * 64):
        with pytest.raises(PermissionError, match=r"401|403"):
            head.ask("/api/jobs/", {"entrypoint": "true"}, token)


def test_the_nightly_script_reads_exit_codes_as_ray_writes_them(head: Head):
    spec = importlib.util.spec_from_file_location("nightly", ROOT / "deploy/kubernetes/base/nightly.py")
    assert spec is not None
    assert spec.loader is not None
    nightly = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nightly)
    job = head.ask("/api/jobs/", {"entrypoint": "echo exit code 0; exit 75"}, head.token)["submission_id"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (info := head.ask(f"/api/jobs/{job}", token=head.token))["status"] != "FAILED":
        assert time.monotonic() < deadline, info
        time.sleep(0.2)
    assert nightly.exit_code({"jobDeploymentStatus": "Failed", "message": info["message"]}) == 75
