"""`ray job submit` as docs/deploy/ray-cluster.md has it, to a real Ray head behind a token that has the wheel."""

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.processes import family
from tests.conftest import ROOT
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
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
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
        f"--port={gcs_port}",
        f"--dashboard-port={dashboard_port}",
        f"--dashboard-agent-listen-port={agent_port}",
        f"--metrics-export-port={metrics_port}",
        "--num-cpus=4",
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
        for member in reversed(family(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
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


def test_from_the_wheel(head: Head, tmp_path: Path):
    (tmp_path / "home" / "jobs-of-mine").mkdir(parents=True)
    write_job(tmp_path / "home" / "jobs-of-mine", tmp_path)
    shown = head.submit(tmp_path / "home", FROM_WHEEL)
    assert "this is the checkout" not in shown
    assert "Published" in shown
    assert labelled(tmp_path) == 5


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
