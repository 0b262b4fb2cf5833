"""A Ray head with its dashboard agent, behind a token, as a process of its own on loopback."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.processes import family, kill_processes
from tests.processes import LOOPBACK, listening_addresses
from tests.s3 import free_ports

PATIENCE_SECONDS = 90


@dataclass(frozen=True)
class RayHead:
    """Where its job interface is, and the token that it asks for."""

    port: int
    token: str

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextlib.contextmanager
def ray_head(folder: Path, cpus: int) -> Iterator[RayHead]:
    """Starts one, whose jobs run in the environment of these tests, and ends all its processes."""
    gcs_port, dashboard_port, agent_port = free_ports(3)
    head = RayHead(dashboard_port, secrets.token_hex(32))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or it listens on every interface
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": head.token,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    command += [f"--port={gcs_port}", f"--num-cpus={cpus}", "--object-store-memory=300000000", "--disable-usage-stats"]
    # `auto` is whatever cluster of the host has last written its address below /tmp/ray; sockets need short paths
    own = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
    command += [f"--temp-dir={own.name}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard_port}"]
    command += [f"--dashboard-agent-listen-port={agent_port}"]
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(head, process, folder / "head.log")
        assert set(listening_addresses(family(process.pid))) <= LOOPBACK
        yield head
    finally:
        kill_processes(reversed(family(process.pid)))
        process.wait()
        own.cleanup()


def _wait_for(head: RayHead, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            head.ask("/api/jobs/")
            return
        time.sleep(0.2)
    raise AssertionError(f"the Ray head did not start:\n{log.read_text()}")
