"""`ray job submit --working-dir . -- python -m jobs.label …` on a real Ray head with its dashboard agent."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.processes import family
from tests.processes import LOOPBACK, listening_addresses
from tests.s3 import free_ports

ROOT = Path(__file__).parent.parent.parent
RAY = str(Path(sys.executable).parent / "ray")
PATIENCE_SECONDS = 90


@pytest.fixture
def head(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray head on loopback, as a process of its own; the job API's address and the environment that reaches it."""
    gcs_port, dashboard_port, agent_port = free_ports(3)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or it listens on every interface
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [
        RAY,
        "start",
        "--head",
        "--block",
        "--node-ip-address=127.0.0.1",
        f"--port={gcs_port}",
        "--num-cpus=4",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard_port}",
        f"--dashboard-agent-listen-port={agent_port}",
        "--object-store-memory=300000000",
        "--disable-usage-stats",
    ]
    with (tmp_path / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(dashboard_port, process, tmp_path / "head.log")
        assert set(listening_addresses(family(process.pid))) <= LOOPBACK
        yield f"http://127.0.0.1:{dashboard_port}", environment
    finally:
        for member in reversed(family(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        process.wait()


@pytest.mark.ray
def test_ray_job_submit(head: tuple[str, dict[str, str]], tmp_path: Path):
    address, environment = head
    (tmp_path / "corpus").mkdir()
    pq.write_table(pq.read_table(CORPUS / "validation.parquet").slice(0, 5), tmp_path / "corpus" / "a.parquet")
    shutil.copytree(CHECKPOINT, tmp_path / "checkpoint")
    (tmp_path / "job.yaml").write_text(
        f"corpus: {{uris: {tmp_path}/corpus, id_column: id}}\n"
        f"checkpoint: {{uri: {tmp_path}/checkpoint}}\ntable: {{uri: {tmp_path}/table}}\ncompute: {{num_cpus: 1}}\n"
    )
    submitted = subprocess.run(
        [
            RAY,
            "job",
            "submit",
            "--address",
            address,
            "--working-dir",
            ".",
            "--",
            "python",
            "-m",
            "jobs.label",
            "--config",
            str(tmp_path / "job.yaml"),
        ],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "Published" in submitted.stdout
    glob = f"{tmp_path}/table/data/snapshot=00000000000000000001/**/*.parquet"
    assert duckdb.sql(f"select count(distinct id) from '{glob}'").fetchall() == [(5,)]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"the Ray head did not start:\n{log.read_text()}")
