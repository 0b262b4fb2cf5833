"""One suite over every store: local disk, a real S3 server, and another fsspec scheme."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT
from pipeline.config.label import StorageSettings
from pipeline.errors import (
    AccessError,
    CheckpointError,
    ConfigError,
    InputError,
    SourceChangedError,
    StorageError,
)
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage
from pipeline.storage.s3 import S3
from tests.faults.proxy import Proxy, Weather
from tests.faults.world import small_disk
from tests.s3 import S3Server


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, str]:
    """A storage and the URI of an empty folder in it."""
    if request.param == "local":
        return Storage(), str(tmp_path / "store")
    if request.param == "memory":
        return Storage(), f"memory://{tmp_path.name}/store"
    server: S3Server = request.getfixturevalue("s3")
    return Storage(StorageSettings(endpoint_url=server.endpoint)), f"s3://{server.new_bucket()}/store"


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


def test_what_is_deleted_meanwhile_is_nobodys(store: Store):
    """As with marks, which two runs may make and remove at once: one at a time has it, and nobody fails."""
    storage, folder = store
    uri, holders, won = f"{folder}/mark", [0], []

    def hold(number: int) -> None:
        for turn in range(25):
            if storage.put_if_absent(uri, b"%d %d" % (number, turn)):
                holders[0] += 1
                won.append(holders[0])
                holders[0] -= 1
                storage.delete(uri)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(4)))
    assert won
    assert set(won) == {1}


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
    assert [file.uri.removeprefix(f"{root}/") for file in storage.find(folder + pattern)] == expected


def test_files_right_in_a_folder(store: Store):
    storage, root = store
    for name in ("b.txt", "a.txt", "below/c.txt"):
        storage.put(f"{root}/folder/{name}", name.encode())
    files = {file.uri: file for file in storage.find(f"{root}/folder")}
    assert storage.files_in(f"{root}/folder") == [file for uri, file in sorted(files.items()) if "below" not in uri]
    assert [file.modified > 0 for file in storage.files_in(f"{root}/folder")] == [
        f.modified > 0 for f in files.values()
    ][:2]
    assert storage.files_in(f"{root}/nowhere") == []


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


@pytest.mark.parametrize("data", [b"", b"data"], ids=["empty", "data"])
def test_the_two_ends_of_the_planned_version(store: Store, data: bytes):
    storage, folder = store
    storage.put(f"{folder}/a", data)
    (planned,) = storage.find(folder)
    assert [storage.read_start(planned, size) for size in (1, 9)] == [data[:1], data]
    assert [storage.read_end(planned, size) for size in (1, 9)] == [data[-1:], data]


def test_the_two_ends_of_another_version(store: Store):
    storage, folder = store
    storage.put(f"{folder}/a", b"data")
    (planned,) = storage.find(folder)
    storage.put(f"{folder}/a", b"DATA")
    for read in (storage.read_start, storage.read_end):
        with pytest.raises(SourceChangedError, match="was replaced"):
            read(planned, 2)


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
def test_fetch_folder_writes_nothing_outside_its_copy(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage, bucket = Storage(StorageSettings(endpoint_url=s3.endpoint)), s3.new_bucket()
    s3.filesystem().pipe_file(f"{bucket}/checkpoint/../../../../escaped", b"x")
    with pytest.raises(CheckpointError, match=r"/escaped: the name leads out of its folder"):
        storage.fetch_folder(f"s3://{bucket}/checkpoint")
    assert not list(tmp_path.rglob("escaped"))


def test_nothing_half_written_is_seen_on_local_disk(tmp_path: Path):
    Storage().put_if_absent(str(tmp_path / "a"), b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_large_object_appears_whole_at_the_end(store: Store):
    storage, folder = store
    piece = bytes(range(256)) * 2**16  # 16 MiB: the client sends parts of 50
    with storage.writing(f"{folder}/a") as file:
        for _ in range(4):
            file.write(piece)
        if "memory://" not in folder:  # whose files are seen from their first byte on
            assert storage.stat(f"{folder}/a") is None
    stored = storage.stat(f"{folder}/a")
    assert stored is not None
    assert stored.size == 4 * len(piece)
    assert storage.read_end(stored, 300) == piece[-300:]
    assert [file.uri for file in storage.find(folder)] == [stored.uri]


def test_an_object_that_is_not_written_to_its_end_changes_nothing(store: Store):
    storage, folder = store
    if "memory://" in folder:
        pytest.skip("a memory file system has no files that appear whole")
    storage.put(f"{folder}/a", b"before")

    def write(uri: str) -> None:
        with storage.writing(uri) as file:
            file.write(b"half")
            raise KeyError("the block's own")

    for name in ("a", "b"):
        with pytest.raises(KeyError, match="the block's own"):
            write(f"{folder}/{name}")
    assert storage.read(f"{folder}/a") == b"before"
    assert len(storage.find(folder)) == 1


def test_relative_paths_become_absolute_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert Storage().canonical("x/../y") == f"file://{tmp_path}/y"


def test_unknown_scheme_says_so():
    with pytest.raises(ConfigError, match=r"s3x://bucket/a: no storage for the scheme 's3x'.*; did you mean s3a?\?$"):
        Storage().read("s3x://bucket/a")
    with pytest.raises(ConfigError, match="no storage for the scheme 'nosuch'"):
        Storage().read("nosuch://bucket/key")


@pytest.mark.s3
@pytest.mark.parametrize(
    ("variables", "told", "advice"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "wrong"}, "InvalidAccessKeyId", "no such AWS_ACCESS_KEY_ID: check it"),
        (
            {"AWS_ACCESS_KEY_ID": "stranger", "AWS_SECRET_ACCESS_KEY": "known"},
            "AccessDenied",
            "check the credentials and the permissions",
        ),
    ],
    ids=["wrong secret", "wrong key", "somebody else's bucket"],
)
def test_refused_credentials_say_why(
    s3: S3Server, variables: dict[str, str], told: str, advice: str, monkeypatch: pytest.MonkeyPatch
):
    if s3.kind == "moto":
        pytest.skip("moto believes any credentials")
    bucket = s3.new_bucket()
    if told == "AccessDenied":
        s3.new_user("stranger", "known")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # another region: fsspec keeps clients by their options, and this one must read the environment again
    storage = Storage(StorageSettings(endpoint_url=s3.endpoint, region=told))
    for request in (
        lambda: storage.find(f"s3://{bucket}/x"),
        lambda: storage.read(f"s3://{bucket}/x"),
        lambda: storage.put(f"s3://{bucket}/x", b"data"),
        lambda: storage.put_if_absent(f"s3://{bucket}/x", b"data"),
    ):
        with pytest.raises(AccessError, match=rf"access denied \({told}\b.*{advice}"):
            request()


@pytest.mark.s3
def test_missing_credentials_say_so(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    bucket = s3.new_bucket()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    storage = Storage(StorageSettings(endpoint_url=s3.endpoint, region="nowhere"))
    with pytest.raises(AccessError, match="set the AWS variables"):
        storage.find(f"s3://{bucket}/x")


@pytest.mark.s3
def test_a_profile_brings_the_credentials(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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
    missing = "s3://no-such-bucket-here"
    for request in (
        lambda: storage.find(f"{missing}/x/*.parquet"),
        lambda: storage.read(f"{missing}/x"),
        lambda: storage.put_if_absent(f"{missing}/x", b"data"),
    ):
        with pytest.raises(InputError, match=f"{missing}: no such bucket"):
            request()


def test_a_hub_name_is_resolved_by_the_hub_s_own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Offline, from a cache in the hub's layout that holds a checkpoint of ours."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository, commit = tmp_path / "models--rookery--sample", "0" * 40
    shutil.copytree(CHECKPOINT, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert (Storage().fetch_folder("rookery/sample") / "spiece.model").is_file()


@pytest.mark.parametrize("name", ["rookery/unknown", "no-such-folder", "./no/such/folder"])
def test_a_checkpoint_that_is_nowhere_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=f"checkpoint.uri {name}: no such folder"):
        Storage().fetch_folder(name)


def through(proxy: Proxy, retry: float = 60.0) -> Storage:
    return Storage(StorageSettings(endpoint_url=proxy.endpoint, retry=retry))


def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither botocore nor s3fs tries anything again."""
    monkeypatch.setattr(S3, "retries", 1)
    monkeypatch.setattr("pipeline.storage.s3.CONFIG", {"retries": {"total_max_attempts": 1}})


@pytest.mark.s3
@pytest.mark.parametrize("pattern", ["", "/*/*.txt", "/**/*.txt", "/a.txt"])
def test_a_listing_that_fails_is_never_a_shorter_one(s3: S3Server, pattern: str, monkeypatch: pytest.MonkeyPatch):
    """Half of the requests fail and none is tried again: a listing is whole, or it is an error."""
    once(monkeypatch)
    folder = f"s3://{s3.new_bucket()}/store"
    with Proxy(s3.endpoint) as proxy:
        storage = through(proxy, retry=0)
        for name in ("a.txt", "b/c.txt", "b/d.txt", "e/f.txt", "e/g/h.txt"):
            storage.put(f"{folder}/{name}", b"x")
        whole = storage.find(folder + pattern)
        proxy.weather = Weather(("unavailable", "denied", "broken", "refused", "reset"), 0.5)
        outcomes = set()
        for _ in range(20):
            try:
                assert storage.find(folder + pattern) == whole
                outcomes.add("whole")
            except (StorageError, AccessError):
                outcomes.add("failed")
        assert outcomes == {"whole", "failed"}


def test_a_local_listing_is_whole_while_files_come_and_go(tmp_path: Path):
    """As a table's folder does while another run puts its fragments there."""
    storage = Storage()
    for n in range(20):
        storage.put(str(tmp_path / f"{n % 3}" / f"{n}.parquet"), b"x")
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            storage.put(str(tmp_path / "1" / "4.parquet"), b"x")

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(come_and_go) for _ in range(2)]
        for _ in range(200):
            found = [file for file in storage.find(str(tmp_path)) if file.uri.endswith(".parquet")]
            assert len(found) == 20
        stop.set()
        for writer in writers:
            writer.result()


def test_a_link_to_a_file_is_a_file(tmp_path: Path):
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "7.txt").write_text("seven")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "current.txt").symlink_to(tmp_path / "versions" / "7.txt")
    (file,) = Storage().find(str(tmp_path / "corpus"))
    assert (file.uri, file.size) == (f"file://{tmp_path}/corpus/current.txt", 5)
    with Storage().open(file) as opened:
        assert opened.read() == b"seven"


@pytest.mark.s3
def test_requests_that_fail_now_and_then_change_nothing(s3: S3Server):
    bucket = f"s3://{s3.new_bucket()}"
    faults = ("lost reply", "reset", "unavailable", "broken", "refused")
    with Proxy(s3.endpoint, weather=Weather(faults, 0.2)) as proxy:
        storage = through(proxy)
        for n in range(64):
            if n >= 8 and set(proxy.injected) == set(faults):  # the dice decide how soon
                break
            data = b"%d" % n * 100_000
            assert storage.put_if_absent(f"{bucket}/{n}", data)
            assert not storage.put_if_absent(f"{bucket}/{n}", b"other")
            storage.copy(f"{bucket}/{n}", f"{bucket}/copies/{n}")
            assert storage.read(f"{bucket}/copies/{n}") == data
            planned = storage.stat(f"{bucket}/{n}")
            assert planned is not None
            with storage.open(planned) as file:
                assert file.read() == data
        assert len(storage.find(bucket)) == 2 * n
        assert set(proxy.injected) == set(faults)


@pytest.mark.s3
def test_a_put_whose_replies_are_all_lost_is_ours(s3: S3Server):
    uri = f"s3://{s3.new_bucket()}/a"
    with Proxy(s3.endpoint, weather=Weather(("lost reply",), requests="^PUT")) as proxy:
        assert through(proxy).put_if_absent(uri, b"mine")
        assert not through(proxy).put_if_absent(uri, b"other")
        assert proxy.injected["lost reply"] > 1


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["black hole", "unavailable", "refused", "reset", "lost reply"])
def test_a_store_that_is_away_is_given_up(s3: S3Server, fault: str, monkeypatch: pytest.MonkeyPatch):
    """One attempt instead of four, and no more than 2 s for it: what counts is that each has an end."""
    bucket = f"s3://{s3.new_bucket()}"
    healthy = Storage(StorageSettings(endpoint_url=s3.endpoint))
    healthy.put(f"{bucket}/a", b"x" * 200_000)
    planned = healthy.stat(f"{bucket}/a")
    assert planned is not None
    monkeypatch.setattr(S3, "retries", 1)
    monkeypatch.setattr("pipeline.storage.s3.PATIENCE_SECONDS", 2)
    once = {"read_timeout": 2, "retries": {"total_max_attempts": 1}}
    monkeypatch.setattr("pipeline.storage.s3.CONFIG", once)
    with Proxy(s3.endpoint, weather=Weather((fault,))) as proxy:
        storage = through(proxy, retry=0)
        for request in (
            lambda: storage.find(bucket),
            lambda: storage.stat(f"{bucket}/a"),
            lambda: storage.read(f"{bucket}/a"),
            lambda: storage.put(f"{bucket}/b", b"y"),
            lambda: storage.put_if_absent(f"{bucket}/c", b"y"),
            lambda: storage.copy(f"{bucket}/a", f"{bucket}/d"),
        ):
            with pytest.raises(StorageError, match="the store failed"):
                request()


@pytest.mark.s3
def test_a_file_whose_bytes_never_come_is_given_up(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    uri = f"s3://{s3.new_bucket()}/a"
    with Proxy(s3.endpoint, weather=Weather(("reset",), requests="^GET")) as proxy:
        storage = through(proxy, retry=0)
        storage.put(uri, b"x" * 200_000)
        planned = storage.stat(uri)
        assert planned is not None
        monkeypatch.setattr(S3, "retries", 1)

        def read() -> None:
            with storage.open(planned) as file:
                file.read()

        with pytest.raises(StorageError, match="the store failed"):
            read()


def test_whether_a_folder_can_be_written_leaves_nothing_behind(store: Store):
    storage, folder = store
    storage.check_writable(f"{folder}/_units", "table.uri")
    assert storage.find(folder) == []
    assert not Path(folder).exists()
    storage.put(f"{folder}/a", b"")
    storage.check_writable(f"{folder}/_units", "table.uri")
    assert [file.uri.rpartition("/")[2] for file in storage.find(folder)] == ["a"]


def below_a_file(folder: Path) -> Path:
    folder.write_text("a file")
    return folder / "table"


def a_loop(folder: Path) -> Path:
    folder.symlink_to(folder)
    return folder


@pytest.mark.parametrize(
    "make",
    [
        below_a_file,
        a_loop,
        lambda _: Path("/proc/table"),
        lambda _: Path("/sys/table"),
        lambda folder: folder.with_name("x" * 300),
    ],
    ids=["below a file", "loop", "proc", "sys", "a name too long"],
)
def test_a_folder_that_never_can_be_written(tmp_path: Path, make: Callable[[Path], Path]):
    folder = make(tmp_path / "there")
    with pytest.raises(ConfigError, match=r"table\.uri: can't be written \("):
        Storage().check_writable(str(folder), "table.uri")


def test_a_disk_that_is_read_only_from_the_start(tmp_path: Path):
    try:
        with small_disk(tmp_path / "disk", "64k") as remount:
            remount("ro")
            with pytest.raises(ConfigError, match=r"table\.uri: can't be written \(.*Read-only"):
                Storage().check_writable(str(tmp_path / "disk/table"), "table.uri")
    except OSError as error:
        pytest.skip(f"no tmpfs can be mounted here: {error}")


def test_a_disk_that_is_full_may_be_emptied(tmp_path: Path):
    try:
        with small_disk(tmp_path / "disk", "64k,nr_inodes=2") as _:
            (tmp_path / "disk/last").touch()
            with pytest.raises(StorageError, match=r"table\.uri: can't be written now \(.*No space"):
                Storage().check_writable(str(tmp_path / "disk/table"), "table.uri")
    except OSError as error:
        pytest.skip(f"no tmpfs can be mounted here: {error}")


@pytest.mark.s3
def test_a_bucket_that_is_missing_or_may_only_be_read(s3: S3Server):
    bucket = s3.new_bucket()
    with Proxy(s3.endpoint) as proxy:
        storage = Storage(StorageSettings(endpoint_url=proxy.endpoint))
        with pytest.raises(ConfigError, match=r"table\.uri: can't be written \("):
            storage.check_writable("s3://no-such-bucket-here/table", "table.uri")
        proxy.weather = Weather(("denied",), requests="PUT ")
        with pytest.raises(AccessError, match="access denied"):
            storage.check_writable(f"s3://{bucket}/table", "table.uri")
        proxy.weather = Weather(("denied",), requests="DELETE ")
        storage.check_writable(f"s3://{bucket}/table", "table.uri")  # enough to label


def test_a_cache_that_can_t_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    storage = Storage()
    storage.put("memory://models/bird/config.json", b"{}")
    with pytest.raises(ConfigError, match=r"cache of checkpoints in .*/file \(TMPDIR\): can't be"):
        storage.fetch_folder("memory://models/bird")


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["unavailable", "refused", "lost reply"])
def test_a_store_that_is_away_for_a_while_is_waited_for(
    s3: S3Server, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Whatever is asked of it, until three attempts have failed."""
    bucket = f"s3://{s3.new_bucket()}"
    once(monkeypatch)
    monkeypatch.setattr("pipeline.storage.retries.FIRST_WAIT", 0.01)
    monkeypatch.setattr("pipeline.storage.retries.TELL_SECONDS", 0.0)
    table = pa.table({"text": ["x" * 200_000]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none")
    data = sink.getvalue().to_pybytes()
    with Proxy(s3.endpoint) as proxy:
        storage = through(proxy)
        storage.put(f"{bucket}/a", data)
        planned = storage.stat(f"{bucket}/a")
        assert planned is not None

        def read_file() -> object:
            with storage.open(planned) as file:
                return pq.ParquetFile(file).read()

        asked: dict[str, tuple[Callable[[], object], object]] = {
            "find": (lambda: storage.find(f"{bucket}/a"), [planned]),
            "stat": (lambda: storage.stat(f"{bucket}/a"), planned),
            "read": (lambda: storage.read(f"{bucket}/a"), data),
            "read_end": (lambda: storage.read_end(planned, 4), b"PAR1"),
            "open": (read_file, table),
            "put": (lambda: storage.put(f"{bucket}/b", b"y"), None),
            "put_if_absent": (lambda: storage.put_if_absent(f"{bucket}/c", b"y"), True),
            "somebody else's": (lambda: storage.put_if_absent(f"{bucket}/c", b"z"), False),
            "copy": (lambda: storage.copy(f"{bucket}/a", f"{bucket}/d"), None),
            "folders_in": (lambda: storage.folders_in(f"{bucket}/none"), []),
            "files_in": (lambda: storage.files_in(f"{bucket}/none"), []),
            "delete": (lambda: storage.delete(f"{bucket}/d"), None),
        }
        for name, (ask, answer) in asked.items():
            proxy.injected.clear()
            proxy.weather = Weather((fault,))
            end = threading.Thread(target=clear_up, args=(proxy, 3))
            end.start()
            assert ask() == answer, name
            end.join()
    assert "the store failed" in caplog.text


def clear_up(proxy: Proxy, failed: int) -> None:
    while proxy.injected.total() < failed:
        time.sleep(0.001)
    proxy.weather = Weather()


@pytest.mark.s3
def test_an_outage_is_waited_for_once(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    """What is asked after the store was given up, as by a failed task's tidying up, does not wait as long again."""
    uri = f"s3://{s3.new_bucket()}/a"
    once(monkeypatch)
    waits: list[float] = []
    sleep = time.sleep

    def counted(seconds: float) -> None:
        waits.append(seconds)
        sleep(seconds)

    monkeypatch.setattr("pipeline.storage.retries.time.sleep", counted)
    with Proxy(s3.endpoint) as proxy:
        storage = through(proxy, retry=1)
        storage.put(uri, b"x")
        for answers_before, is_waited_for in ((True, True), (False, False), (True, True)):
            proxy.weather = Weather()
            if answers_before:
                assert storage.read(uri) == b"x"
            proxy.weather = Weather(("refused",))
            waits.clear()
            with pytest.raises(StorageError, match="the store failed"):
                storage.read(uri)
            assert bool(waits) is is_waited_for
            assert sum(waits) <= 1


@pytest.mark.s3
@pytest.mark.parametrize("kind", ["denied", "no such object", "a request that is wrong"])
def test_what_will_not_pass_is_not_waited_for(s3: S3Server, kind: str, monkeypatch: pytest.MonkeyPatch):
    def never(_: float) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr("pipeline.storage.retries.time.sleep", never)
    bucket = f"s3://{s3.new_bucket()}"
    with Proxy(s3.endpoint, weather=Weather(("denied",) if kind == "denied" else ())) as proxy:
        storage = through(proxy)
        expected, name = {
            "denied": (AccessError, "a"),
            "no such object": (FileNotFoundError, "a"),
            "a request that is wrong": (StorageError, "a" * 2000),
        }[kind]
        with pytest.raises(expected):
            storage.read(f"{bucket}/{name}")


def test_a_local_disk_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("pipeline.storage.retries.time.sleep")
    (tmp_path / "file").write_text("where a folder should be")
    with pytest.raises(StorageError, match="the store failed"):
        Storage().put(str(tmp_path / "file" / "a"), b"x")


@pytest.mark.parametrize("uri", ["s3:/bucket/a", "gs:/bucket/a", "hf:/datasets/a", "file:/a"])
def test_a_uri_with_one_slash_is_no_folder_of_this_disk(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"{uri}: expected two slashes behind the scheme, as in s3://bucket/folder"):
        Storage().put(uri, b"lost")
    assert list(tmp_path.iterdir()) == []


def test_a_colon_in_a_name_is_no_scheme(tmp_path: Path):
    Storage().put(f"{tmp_path}/a:/b", b"kept")
    assert (tmp_path / "a:/b").read_bytes() == b"kept"
