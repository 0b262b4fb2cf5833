"""What the rest of the tests take from the S3 server, and that nobody else can reach it."""

import errno
import os
import socket
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.processes import LOOPBACK, listening_addresses
from tests.s3 import SERVER_SCRIPT, S3Server, s3_server

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(s3: S3Server) -> str:
    return s3.new_bucket()


def test_put_if_absent_refuses_the_second_write(s3: S3Server, bucket: str) -> None:
    store = s3.filesystem()
    store.pipe_file(f"{bucket}/manifest", b"first", mode="create")
    # s3fs makes FileExistsError of this only if the answer names the condition, which Ceph's does not.
    with pytest.raises(OSError) as refusal:  # noqa: PT011 - the code is checked below
        store.pipe_file(f"{bucket}/manifest", b"second", mode="create")
    assert isinstance(refusal.value.__cause__, ClientError)
    assert refusal.value.__cause__.response["Error"]["Code"] == "PreconditionFailed"
    assert store.cat_file(f"{bucket}/manifest") == b"first"


def test_wrong_secret_is_refused(s3: S3Server, bucket: str) -> None:
    if s3.kind == "moto":
        pytest.skip("moto believes any credentials")
    with pytest.raises(PermissionError):
        s3.filesystem(secret="wrong").pipe_file(f"{bucket}/object", b"")


def test_listing_pages(s3: S3Server, bucket: str) -> None:
    names = [f"{bucket}/{number:05}" for number in range(1200)]
    store = s3.filesystem()
    store.pipe(dict.fromkeys(names, b""))
    assert store.call_s3("list_objects_v2", Bucket=bucket)["IsTruncated"]
    assert store.find(bucket) == names


def test_each_bucket_is_new(s3: S3Server) -> None:
    assert s3.new_bucket() != s3.new_bucket()


def test_every_port_is_on_loopback(s3: S3Server) -> None:
    needs_ceph(s3)
    processes = [int(path.read_text()) for path in (s3.folder / "run").glob("*.pid")]
    assert len(processes) == 3
    addresses = listening_addresses(processes)
    assert len(addresses) >= 3
    assert set(addresses) <= LOOPBACK


def test_servers_run_side_by_side_and_stop_ends_only_its_own(s3: S3Server, tmp_path: Path) -> None:
    with s3_server(tmp_path / "second") as second:
        assert second.filesystem().exists(second.new_bucket())
    with socket.socket() as client:
        port = int(second.endpoint.rpartition(":")[2])
        assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    assert s3.filesystem().exists(s3.new_bucket())


def test_starting_twice_changes_nothing(s3: S3Server) -> None:
    needs_ceph(s3)
    bucket = s3.new_bucket()
    port = s3.endpoint.rpartition(":")[2]
    run = run_script("start", s3.folder, S3_SERVER_PORT=port)
    assert run.stdout == f"already running at {s3.endpoint}\n"
    assert s3.filesystem().exists(bucket)


def test_a_folder_with_other_things_is_left_alone(s3: S3Server, tmp_path: Path) -> None:
    needs_ceph(s3)  # or `start` would install it
    (tmp_path / "thesis.txt").write_text("the only copy")
    run = run_script("start", tmp_path, S3_SERVER_PORT="1")
    assert run.returncode == 1
    assert "not a server's folder" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def needs_ceph(s3: S3Server) -> None:
    if s3.kind == "moto":
        pytest.skip("about deploy/s3_server.sh; this run uses moto")


def run_script(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SERVER_SCRIPT), command],
        env=os.environ | {"S3_SERVER_FOLDER": str(folder)} | variables,
        text=True,
        capture_output=True,
        check=False,
    )
