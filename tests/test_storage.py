"""One suite over every store: local disk, a real S3 server, and another fsspec scheme."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.sample import CHECKPOINT
from pipeline.config import StorageSettings
from pipeline.errors import (
    AccessError,
    CheckpointError,
    ConfigError,
    InputError,
    SourceChangedError,
)
from pipeline.storage import Storage, StoredFile
from tests.s3 import S3Server


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, str]:
    """A storage and the URI of an empty folder in it."""
    if request.param == "local":
        return Storage(), str(tmp_path / "store")
    if request.param == "memory":
        return Storage(), f"memory://{tmp_path.name}/store"
    server: S3Server = request.getfixturevalue("s3")
    return Storage(
        StorageSettings(endpoint_url=server.endpoint)
    ), f"s3://{server.new_bucket()}/store"


Store = tuple[Storage, str]


def test_put_if_absent_keeps_the_first(store: Store):
    storage, folder = store
    assert storage.put_if_absent(f"{folder}/a", b"first")
    assert not storage.put_if_absent(f"{folder}/a", b"second")
    assert storage.read(f"{folder}/a") == b"first"


def test_put_if_absent_of_the_same_bytes_is_success(store: Store):
    # the reply to our own PUT may be lost: the retry must not take it for somebody else's
    storage, folder = store
    assert storage.put_if_absent(f"{folder}/a", b"mine")
    assert storage.put_if_absent(f"{folder}/a", b"mine")


def test_of_many_writers_one_wins(store: Store):
    storage, folder = store
    barrier = threading.Barrier(8)

    def write(number: int) -> bool:
        barrier.wait()
        return storage.put_if_absent(f"{folder}/contested", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert won.count(True) == 1
    assert storage.read(f"{folder}/contested") == b"%d" % won.index(True)


def test_put_replaces(store: Store):
    storage, folder = store
    storage.put(f"{folder}/a", b"first")
    storage.put(f"{folder}/a", b"second")
    assert storage.read(f"{folder}/a") == b"second"


def test_copy(store: Store):
    storage, folder = store
    storage.put(f"{folder}/a", b"data")
    for n in range(20):
        storage.copy(f"{folder}/a", f"{folder}/b/{n}")
    assert storage.read_all([f"{folder}/b/{n}" for n in range(20)]) == [b"data"] * 20


def test_copy_of_nothing_raises(store: Store):
    storage, folder = store
    storage.put(f"{folder}/a", b"data")
    with pytest.raises(FileNotFoundError):
        storage.copy(f"{folder}/missing", f"{folder}/b")


def test_read_of_nothing_raises(store: Store):
    storage, folder = store
    storage.put(f"{folder}/a", b"data")
    assert storage.stat(f"{folder}/b") is None
    with pytest.raises(FileNotFoundError):
        storage.read(f"{folder}/b")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["a.txt", "k=1 2/b.txt", "k=1 2/deep/c.txt", "odd %20+é.txt"]),
        ("/a.txt", ["a.txt"]),
        ("/k=1 2", ["k=1 2/b.txt", "k=1 2/deep/c.txt"]),
        ("/*.txt", ["a.txt", "odd %20+é.txt"]),
        ("/**/*.txt", ["a.txt", "k=1 2/b.txt", "k=1 2/deep/c.txt", "odd %20+é.txt"]),
        ("/*/b.txt", ["k=1 2/b.txt"]),
        ("/nothing*", []),
    ],
    ids=["folder", "file", "inner folder", "glob", "deep glob", "middle glob", "no match"],
)
def test_find(store: Store, pattern: str, expected: list[str]):
    storage, folder = store
    for name in ("a.txt", "k=1 2/b.txt", "k=1 2/deep/c.txt", "odd %20+é.txt"):
        storage.put(f"{folder}/{name}", b"x")
    root = storage.canonical(folder)
    assert [
        file.uri.removeprefix(f"{root}/") for file in storage.find(folder + pattern)
    ] == expected


def test_open_reads_the_planned_version(store: Store):
    storage, folder = store
    storage.put(f"{folder}/a", b"data")
    (planned,) = storage.find(folder)
    with storage.open(planned) as file:
        assert file.read() == b"data"


def test_open_refuses_another_version(store: Store):
    storage, folder = store
    storage.put(f"{folder}/a", b"data")
    (planned,) = storage.find(folder)
    storage.put(f"{folder}/a", b"DATA")
    with (
        pytest.raises(SourceChangedError, match="was replaced after this run was planned"),
        storage.open(planned),
    ):
        pass


def test_open_notices_a_change_while_reading(store: Store):
    storage, folder = store
    storage.put(f"{folder}/a", b"data")
    (planned,) = storage.find(folder)
    with pytest.raises(SourceChangedError), storage.open(planned):
        storage.put(f"{folder}/a", b"DATA")


def test_open_of_a_deleted_file(store: Store, tmp_path: Path):
    storage, folder = store
    missing = StoredFile(storage.canonical(f"{folder}/gone"), 4, "v")
    storage.put(f"{folder}/a", b"data")
    with pytest.raises(SourceChangedError, match="is gone"), storage.open(missing):
        pass


def test_fetch_folder_gives_the_files(store: Store):
    storage, folder = store
    storage.put(f"{folder}/checkpoint/config.json", b"{}")
    storage.put(f"{folder}/checkpoint/shards/one", b"1")
    path = storage.fetch_folder(f"{folder}/checkpoint")
    assert (path / "config.json").read_bytes() == b"{}"
    assert (path / "shards" / "one").read_bytes() == b"1"
    assert storage.fetch_folder(f"{folder}/checkpoint") == path


def test_fetch_folder_of_nothing(store: Store):
    storage, folder = store
    with pytest.raises(CheckpointError, match="no such folder"):
        storage.fetch_folder(f"{folder}/nothing")


@pytest.mark.s3
def test_fetch_folder_writes_nothing_outside_its_copy(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage, bucket = Storage(StorageSettings(endpoint_url=s3.endpoint)), s3.new_bucket()
    s3.filesystem().pipe_file(f"{bucket}/checkpoint/../../../../escaped", b"x")
    with pytest.raises(CheckpointError, match=r"/escaped: the name leads out of its folder"):
        storage.fetch_folder(f"s3://{bucket}/checkpoint")
    assert not list(tmp_path.rglob("escaped"))


def test_nothing_half_written_is_seen_on_local_disk(tmp_path: Path):
    Storage().put_if_absent(str(tmp_path / "a"), b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_relative_paths_become_absolute_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert Storage().canonical("x/../y") == f"file://{tmp_path}/y"


def test_unknown_scheme_says_so():
    with pytest.raises(ConfigError, match="no storage for the scheme 'nosuch'"):
        Storage().read("nosuch://bucket/key")


@pytest.mark.s3
def test_refused_credentials_say_so(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    if s3.kind == "moto":
        pytest.skip("moto believes any credentials")
    bucket = s3.new_bucket()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    # another region: fsspec keeps clients by their options, and this one must read the environment again
    storage = Storage(StorageSettings(endpoint_url=s3.endpoint, region="elsewhere"))
    with pytest.raises(AccessError, match="check the credentials"):
        storage.find(f"s3://{bucket}/x")


@pytest.mark.s3
def test_missing_credentials_say_so(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    bucket = s3.new_bucket()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    storage = Storage(StorageSettings(endpoint_url=s3.endpoint, region="nowhere"))
    with pytest.raises(AccessError, match="set the AWS variables"):
        storage.find(f"s3://{bucket}/x")


@pytest.mark.s3
def test_a_profile_brings_the_credentials(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    keys = f"aws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret_key}\n"
    (tmp_path / "credentials").write_text(f"[nightly]\n{keys}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    storage = Storage(StorageSettings(endpoint_url=s3.endpoint, profile="nightly"))
    uri = f"s3://{s3.new_bucket()}/object"
    assert storage.put_if_absent(uri, b"data")
    assert storage.read(uri) == b"data"


@pytest.mark.s3
def test_missing_bucket_says_so(s3: S3Server):
    storage = Storage(StorageSettings(endpoint_url=s3.endpoint))
    with pytest.raises(InputError, match="s3://no-such-bucket-here: no such bucket"):
        storage.find("s3://no-such-bucket-here/x/*.parquet")


def test_a_hub_name_is_resolved_by_the_hub_s_own_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Offline, from a cache in the hub's layout that holds a checkpoint of ours."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository, commit = tmp_path / "models--rookery--sample", "0" * 40
    shutil.copytree(CHECKPOINT, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert (Storage().fetch_folder("rookery/sample") / "spiece.model").is_file()


@pytest.mark.parametrize("name", ["rookery/unknown", "no-such-folder", "./no/such/folder"])
def test_a_checkpoint_that_is_nowhere_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=f"checkpoint.uri {name}: no such folder"):
        Storage().fetch_folder(name)
