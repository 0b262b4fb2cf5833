"""An S3 server for the tests, on loopback: Ceph where it is installed, moto elsewhere.

Ceph's radosgw (deploy/s3_server.sh, ready in 2 s) checks signatures and does everything through a
network and a disk format of its own, as a real store does. moto is a simulation in one process and
believes any credentials; a test that needs more asks for `server.kind` and skips with that reason.
TESTS_S3=moto chooses moto where both are there.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import s3fs

SERVER_SCRIPT = Path(__file__).parent.parent / "deploy" / "s3_server.sh"
CANNOT_RUN_HERE = 3  # the script's exit code
REGION = "us-east-1"
PATIENCE_SECONDS = 60

# Ceph 16 does not know the checksums that newer SDKs add to every request.
CHECKSUMS = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}


class CephMissingError(Exception):
    """Ceph is not installed, so that another server has to do."""


@dataclass(frozen=True)
class S3Server:
    """A running server. `kind` tells what it can be trusted with."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    kind: Literal["ceph", "moto"]
    folder: Path
    description: str
    stop: Callable[[], None] = field(repr=False)

    def environment(self) -> dict[str, str]:
        """The variables with which any S3 client of a child process finds its credentials.

        The endpoint is not among them: jobs name it in their settings.
        """
        return CHECKSUMS | {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            # Nothing from the developer's own account may slip in.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def filesystem(self, **options: Any) -> s3fs.S3FileSystem:
        """A client that shares nothing with other clients; `options` override the usual ones."""
        usual = {
            "key": self.access_key,
            "secret": self.secret_key,
            "endpoint_url": self.endpoint,
            "client_kwargs": {"region_name": REGION},
            "config_kwargs": {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
            "skip_instance_cache": True,
            "use_listings_cache": False,
        }
        return s3fs.S3FileSystem(**(usual | options))

    def new_bucket(self) -> str:
        """Makes a bucket that no other test has, and returns its name."""
        name = f"test-{uuid.uuid4().hex}"
        # Not mkdir: that sends the region as a place, and Ceph knows no place of that name.
        self.filesystem().call_s3("create_bucket", Bucket=name)
        return name

    def new_user(self, access_key: str, secret_key: str) -> None:
        """Makes a user of Ceph's who owns nothing."""
        files = ["-c", f"{self.folder}/ceph.conf", "-k", f"{self.folder}/keyring"]
        keys = [f"--access-key={access_key}", f"--secret-key={secret_key}"]
        named = [f"--uid={access_key}", f"--display-name={access_key}"]
        subprocess.run(
            ["radosgw-admin", *files, "user", "create", *named, *keys],
            check=True,
            capture_output=True,
        )


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    server = start_s3_server(folder)
    try:
        yield server
    finally:
        server.stop()


def start_s3_server(folder: Path) -> S3Server:
    """Starts a server whose state is in `folder`; returns when it has stored its first object."""
    try:
        server = _start_ceph(folder)
    except CephMissingError as reason:
        server = _start_moto(folder, str(reason))
    try:
        server.filesystem().pipe_file(f"{server.new_bucket()}/first", b"")
    except BaseException:
        server.stop()
        raise
    return server


def summary_line(server: S3Server | None) -> str:
    """What to tell in pytest's summary, so that nobody takes a moto run for a Ceph run."""
    return f"S3: {server.description}" if server else "S3: no test asked for a server"


def _start_ceph(folder: Path) -> S3Server:
    if os.environ.get("TESTS_S3") == "moto":
        raise CephMissingError("TESTS_S3=moto")
    # The script would install what is missing; a test run changes nothing outside its own folder.
    if not (shutil.which("radosgw") and shutil.which("ceph-mon") and shutil.which("ceph-osd")):
        raise CephMissingError("radosgw, ceph-mon and ceph-osd are not installed")
    port, monitor_port = free_ports(2)
    access_key, secret_key = "tests", secrets.token_hex(16)
    environment = os.environ | {
        "S3_SERVER_FOLDER": str(folder),
        "S3_SERVER_PORT": str(port),
        "S3_SERVER_MONITOR_PORT": str(monitor_port),
        "S3_SERVER_ACCESS_KEY": access_key,
        "S3_SERVER_SECRET_KEY": secret_key,
    }

    def script(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SERVER_SCRIPT), command],
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )

    started = script("start")
    if started.returncode == CANNOT_RUN_HERE:
        raise CephMissingError(started.stderr.strip())
    if started.returncode != 0:
        raise RuntimeError(f"Ceph is installed and did not start:\n{started.stderr}")
    return S3Server(
        endpoint=f"http://127.0.0.1:{port}",
        access_key=access_key,
        secret_key=secret_key,
        kind="ceph",
        folder=folder,
        description=f"Ceph radosgw {_ceph_version()}",
        stop=lambda: script("stop").check_returncode(),
    )


def _ceph_version() -> str:
    output = subprocess.run(["radosgw", "--version"], text=True, capture_output=True, check=True)
    return output.stdout.split()[2]  # "ceph version 16.2.15 (hash) pacific (stable)"


def _start_moto(folder: Path, reason: str) -> S3Server:
    (port,) = free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "moto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C on the tests leaves it to stop()
        )

    def stop() -> None:
        process.kill()
        process.wait()

    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            stop()
            raise RuntimeError(f"moto did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
    return S3Server(
        endpoint=f"http://127.0.0.1:{port}",
        access_key="tests",
        secret_key=secrets.token_hex(16),
        kind="moto",
        folder=folder,
        description=f"moto {metadata.version('moto')}, which checks no credentials ({reason})",
        stop=stop,
    )


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; all held at once, so that they differ."""
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]
