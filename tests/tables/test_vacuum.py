"""Vacuum on tables made by hand: what stays, what goes and when, and every place where it may die."""

import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, StorageError
from pipeline.schema import DOCUMENT_LOGITS
from pipeline.storage.objects import Storage
from pipeline.tables.attempts import Attempts
from pipeline.tables.content_index import ContentIndex
from pipeline.tables.fragments import Fragments
from pipeline.tables.heartbeats import Heartbeats
from pipeline.tables.object_names import object_name
from pipeline.tables.publish import Publication
from pipeline.tables.reachability import DAY_SECONDS, Retention
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Snapshots
from pipeline.tables.source_units import SourceUnit
from pipeline.tables.vacuum import LIST, Deleted, Review, review, vacuum
from tests.dying_storage import DyingError
from tests.tables.test_publish import DECISION, Table, file_list_paths, tree

OLD_KEY, NEW_KEY = "a" * 16, "b" * 16
KEPT = Retention(snapshots=2, days=30, grace_days=7)
UNIT = "0" * 31 + "7"


class KeyTable(Table):
    """A table whose scoring key is one, and may become another."""

    key = OLD_KEY

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.use(OLD_KEY)

    def use(self, key: str) -> None:
        self.key = key
        self.fragments = Fragments(Storage(), str(self.folder), key, DOCUMENT_LOGITS)

    def publication(self, *units: SourceUnit, partial: bool = False, task: Any = DECISION) -> Publication:
        return replace(super().publication(*units, partial=partial, task=task), scoring_key=self.key)

    def vacuum(self, retention: Retention = KEPT) -> tuple[Review, Deleted]:
        return vacuum(self.snapshots, retention, lambda _: None)

    def put(self, path: str, data: bytes = b"x") -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)

    def index(self, *units: int) -> str:
        """Writes an index file of some units; its name."""
        before = objects(self)
        ContentIndex(self.fragments).extend([f"{unit:032d}" for unit in units])
        (path,) = objects(self) - before
        return path

    def later(self, days: float) -> None:
        """Lets days go by: all that is there is older, and listed for longer."""
        for path in filter(Path.is_file, self.folder.rglob("*")):
            moment = path.stat().st_mtime - days * DAY_SECONDS
            os.utime(path, (moment, moment))
        if (self.folder / LIST).exists():
            moment = (self.folder / LIST).stat().st_mtime
            listed = pq.read_table(self.folder / LIST)
            since = pa.array([time - days * DAY_SECONDS * 1e6 for time in listed["since"].cast(pa.int64()).to_pylist()])
            since = since.cast(pa.int64()).cast(pa.timestamp("us", "UTC"))
            pq.write_table(listed.set_column(3, "since", since), self.folder / LIST)


def months(folder: Path) -> KeyTable:
    """Under an old key snapshots 1 and 2, under a new one 3 and 4, a month later 5; and what runs that died left.

    Unit 4 is in snapshot 3 alone.
    """
    table = KeyTable(folder)
    table.publish(table.unit(1), table.unit(2, "b", failed=True))
    table.publish(table.unit(1))
    table.index(1, 2)
    table.use(NEW_KEY)
    table.publish(table.unit(1), table.unit(4, "c"))
    table.index(4)
    table.publish(table.unit(1), table.unit(2, "b", failed=True))
    for path in LEFT.split():
        table.put(path)
    table.later(40)
    table.publish(table.unit(1), table.unit(3))
    return table


LEFT = f"""
    _units/{OLD_KEY}/00/{UNIT}.read.begun
    _units/{NEW_KEY}/00/{UNIT}.predict.{"c" * 16}.begun
    _units/{OLD_KEY}/runs/{"d" * 16}
    _units/documents/00/{UNIT}
    _units/computed/00/{UNIT}
    data/snapshot={2:020d}/part=a/.rookery-{"f" * 16}
    .rookery-{"f" * 16}
"""
STAYING = f"""
    _units/cuts/00/{UNIT}-3
    _units/editions/{UNIT}-1
    _erased/digests.parquet
    data/snapshot={4:020d}/part-0001-{"0" * 16}.parquet
    data/snapshot={1:020d}/notes.txt
    README.md
"""


@pytest.fixture
def table(tmp_path: Path) -> KeyTable:
    return months(tmp_path / "table")


def objects(table: KeyTable) -> set[str]:
    """Names of all that is no business of vacuum's own."""
    return {path for path in tree(table.folder) if not path.startswith("_vacuum/")}


def check_whole(table: KeyTable) -> None:
    """Every snapshot that a reader is given has each of its files."""
    for number in table.snapshots.published():
        if number in table.snapshots.vacuumed():
            with pytest.raises(ConfigError, match="vacuumed"):
                table.snapshots.find(number)
            continue
        manifest = table.snapshots.find(number)
        assert manifest is not None
        for file in manifest.files:
            assert (table.folder / file.path).stat().st_size == file.bytes


def test_a_dry_run_writes_nothing(table: KeyTable):
    before = tree(table.folder)
    found = review(table.snapshots, KEPT)
    assert tree(table.folder) == before
    assert len(found.marked)
    assert not len(found.due)


def test_what_nothing_needs_is_listed_and_goes_a_week_later(table: KeyTable):
    for path in STAYING.split():
        table.put(path)
    named = table.index(2)  # of the new key: its fragment is in use
    indexes = {path for path in objects(table) if path.startswith("_index/")}
    assert len(indexes) == 3
    groups = {group.members for units in ((1, 2), (1, 3)) for group in table.publication(*map(sources, units)).groups}
    tallies = {path for path in objects(table) if "/tallies/" in path}
    unused = {path for path in tallies if path.rpartition("/")[2].removesuffix("-1") not in groups}
    assert len(unused) == 1
    table.later(1)
    before = tree(table.folder)
    sizes = {path: (table.folder / path).stat().st_size for path in before}
    kept = [table.snapshots.read(number) for number in (4, 5)]
    _, deleted = table.vacuum()
    assert not deleted.amounts
    assert objects(table) == before.keys(), "the first one only lists"
    table.later(6.9)
    assert not table.vacuum()[1].amounts, "before the time of grace is over"
    table.later(0.2)
    found, deleted = table.vacuum()
    gone = before.keys() - objects(table)
    assert gone == {
        *(file.path for number in (1, 2, 3) for file in table.snapshots.read(number).files),
        *(f"_snapshots/{number:020d}.{kind}" for number in (1, 2, 3) for kind in ("claim", "units")),
        *file_list_paths(1, 2, 3),
        f"_units/{NEW_KEY}/00/{4:032d}.parquet",
        *(indexes - {named}),
        *(path for path in before if path.startswith(f"_units/{OLD_KEY}/")),
        *unused,
        *LEFT.split(),
    }
    assert gone - {*found.due["path"].to_pylist()} == {path for path in indexes - {named} if NEW_KEY in path}
    assert sum(amount.objects for amount in deleted.amounts.values()) == len(gone)
    assert sum(amount.bytes for amount in deleted.amounts.values()) == sum(sizes[path] for path in gone)
    assert found.findings.unknown_paths == ["README.md", f"data/snapshot={1:020d}/notes.txt"]
    after = tree(table.folder)
    assert {path for path in before.keys() - gone if after[path] != before[path]} == set()
    assert [table.snapshots.find(number) for number in (4, 5)] == kept
    assert len(table.rows(5)) == 4
    assert not table.vacuum()[1].amounts, "and nothing is left to do"


def sources(number: int) -> SourceUnit:
    """A unit of `months`, without writing its fragment."""
    part = {1: "a", 2: "b", 3: "a"}[number]
    return SourceUnit(f"{number:032d}", f"s3://b/{number}.jsonl", (("part", part), ("day", "1")), 2)


def test_a_snapshot_that_does_not_say_its_units_keeps_all_of_its_key(table: KeyTable):
    """As those of earlier versions don't. Tallies then go by age."""
    (table.folder / f"_snapshots/{4:020d}.units").unlink()
    old = {path for path in objects(table) if "/tallies/" in path and age(table, path) > KEPT.days}
    assert len(old) == 3
    vacuumed(table)
    assert (table.folder / f"_units/{NEW_KEY}/00/{4:032d}.parquet").exists()
    assert not old_fragments(table)
    assert not old & objects(table)


def age(table: KeyTable, path: str) -> float:
    """Days."""
    return (time.time() - (table.folder / path).stat().st_mtime) / DAY_SECONDS


def vacuumed(table: KeyTable, retention: Retention = KEPT) -> Deleted:
    """What both phases have deleted."""
    table.vacuum(retention)
    table.later(8)
    return table.vacuum(retention)[1]


def test_a_vacuumed_snapshot_says_so(table: KeyTable):
    deleted = vacuumed(table)
    assert deleted.snapshots == table.snapshots.vacuumed() == [1, 2, 3]
    assert table.snapshots.published() == [1, 2, 3, 4, 5]
    reason = r"snapshot 1 was vacuumed at 20\d\d-.*: its files are deleted, its manifest alone is left"
    with pytest.raises(ConfigError, match=reason):
        table.snapshots.find(1)
    with pytest.raises(ConfigError, match=reason):
        roll_back(table.snapshots, 1, {})
    assert table.snapshots.read(1).counts["documents"] == 4
    note = json.loads((table.folder / f"_snapshots/{1:020d}.vacuumed").read_bytes())
    assert (table.folder / note["record"]).exists()


def test_a_record_says_what_went(table: KeyTable):
    deleted = vacuumed(table)
    (path,) = (table.folder / "_vacuum/records").iterdir()
    record = json.loads(path.read_bytes())
    assert record["deleted"] == {kind: amount._asdict() for kind, amount in sorted(deleted.amounts.items())}
    assert record["due"].pop("index")["objects"] + 1 == record["deleted"].pop("index")["objects"]
    assert record["deleted"] == record["due"], "and an index that named what went"
    assert record["vacuumed_snapshots"] == [1, 2, 3]
    assert record["retention"] == {"snapshots": 2, "days": 30, "grace_days": 7}
    assert record["began_at"] <= record["ended_at"]


def test_the_next_runs_publish_as_ever(table: KeyTable):
    """No number comes twice, and a partial snapshot that is gone is no one's newest."""
    partial = table.publish(table.unit(5), partial=True)
    table.later(40)
    table.publish(table.unit(1))
    assert vacuumed(table, Retention(1)).snapshots == [1, 2, 3, 4, 5, 6]
    assert table.snapshots.latest(partial=True) is None
    again = table.publish(table.unit(5), partial=True)
    assert (again.snapshot, again.content) == (8, partial.content)
    check_whole(table)
    table.use(OLD_KEY)
    assert table.publish(table.unit(1), table.unit(2, "b", failed=True)).snapshot == 9
    check_whole(table)


def test_what_is_written_anew_waits_again(table: KeyTable):
    table.vacuum()
    table.later(8)
    mark = f"_units/{OLD_KEY}/00/{UNIT}.read.begun"
    table.put(mark)
    table.vacuum()
    assert mark in objects(table)
    assert f"_units/{OLD_KEY}/runs/{'d' * 16}" not in objects(table)


def test_what_is_needed_again_stays(table: KeyTable):
    """Between the two phases somebody rolls back to a snapshot under the old key."""
    table.vacuum()
    table.later(8)
    roll_back(table.snapshots, 1, {})
    fragments = {path for path in objects(table) if path.startswith(f"_units/{OLD_KEY}/") and "." in path[-8:]}
    table.vacuum()
    assert {path for path in fragments if path.endswith(".parquet")} <= objects(table)
    assert table.snapshots.latest() == table.snapshots.find(6)
    check_whole(table)


def old_fragments(table: KeyTable) -> set[str]:
    folder = table.folder / "_units" / OLD_KEY
    return {path.name for path in folder.rglob("*.parquet")}


def test_a_run_at_work_keeps_its_fragments_marks_and_scratch(table: KeyTable):
    fragments = Fragments(Storage(), str(table.folder), OLD_KEY, DOCUMENT_LOGITS)
    before = old_fragments(table)
    table.vacuum()
    table.later(8)
    with Heartbeats(fragments).beating() as run, Attempts(fragments, "read", run).attempt("0" * 32):
        kinds = table.vacuum()[1].amounts.keys()
        assert "scratch" not in kinds
        assert [*(table.folder / "_index" / OLD_KEY).iterdir()]
        assert "data files" in kinds
        assert (table.folder / f"_units/{OLD_KEY}/00/{UNIT}.read.begun").exists()
    assert old_fragments(table) == before
    vacuumed(table)
    assert not old_fragments(table)


def test_a_run_that_publishes_keeps_its_files_and_all_fragments(table: KeyTable):
    table.put(f"data/snapshot={6:020d}/part=a/part-0001-{'0' * 16}.parquet")
    table.vacuum()
    table.later(8)
    claimed = table.snapshots.claim("content")
    assert claimed == 6
    kinds = table.vacuum()[1].amounts.keys()
    assert not {"fragments", "index"} & kinds
    assert objects(table) >= {
        f"_snapshots/{6:020d}.claim",
        f"data/snapshot={6:020d}/part=a/part-0001-{'0' * 16}.parquet",
    }
    table.later(8)
    assert "fragments" in vacuumed(table).amounts, "it has died"
    table.publish(table.unit(1))
    vacuumed(table)
    assert f"_snapshots/{6:020d}.claim" not in objects(table), "another one has gone past it"


@pytest.mark.parametrize("parent", [5, 3])
def test_a_candidate_keeps_its_files_and_its_fragments_while_it_may_be_published(table: KeyTable, parent: int):
    """Or until the days are over: this one was held back 40 days ago."""
    name = f"{1:020d}.json"
    (table.folder / "_candidates").mkdir()
    candidate = (table.folder / "_snapshots" / name).rename(table.folder / "_candidates" / name)
    manifest = json.loads(candidate.read_text()) | {"parent": parent}
    held_back = candidate.stat().st_mtime
    candidate.write_text(json.dumps(manifest))
    os.utime(candidate, (held_back, held_back))
    before, is_open = old_fragments(table), parent == 5
    vacuumed(table)
    assert (old_fragments(table) == before) == is_open
    files = [table.folder / file["path"] for file in manifest["files"]]
    assert {file.exists() for file in files} == {is_open}
    assert candidate.exists()


def test_fragments_and_tallies_of_the_last_days_stay_whatever_their_key(table: KeyTable):
    table.use("c" * 16)
    table.unit(9)
    table.later(20)
    vacuumed(table)
    assert (table.folder / f"_units/{'c' * 16}/00/{9:032d}.parquet").exists()
    table.later(20)
    vacuumed(table)
    assert not (table.folder / f"_units/{'c' * 16}/00/{9:032d}.parquet").exists()


def test_an_index_goes_before_the_fragments_that_it_names(table: KeyTable):
    """Young as it may be."""
    table.vacuum()
    table.later(8)
    shutil.rmtree(table.folder / "_index")
    index = table.index(4)
    deleting = logged(table.snapshots)
    vacuum(deleting, KEPT, lambda _: None)
    deleted = [
        path.removeprefix("file://").removeprefix(f"{table.folder}/")
        for call, path in calls(deleting)
        if call == "delete"
    ]
    kinds = [name.kind for name in map(object_name, deleted) if name]
    assert index in deleted
    assert kinds.index("fragments") > max(place for place, kind in enumerate(kinds) if kind == "index")
    assert kinds[-1] == "claims"


def test_it_refuses_a_table_that_lacks_what_a_kept_snapshot_needs(table: KeyTable):
    table.vacuum()
    table.later(8)
    path = table.snapshots.read(4).files[0].path
    (table.folder / path).unlink()
    before = tree(table.folder)
    with pytest.raises(ConfigError, match=f"{path}: snapshot 4 needs it, and the listing of the table lacks it"):
        table.vacuum()
    assert {*tree(table.folder)} == {*before}
    shutil.rmtree(table.folder / f"data/snapshot={4:020d}")
    with pytest.raises(ConfigError, match="snapshot 4 needs it"):
        review(table.snapshots, KEPT)


@pytest.mark.parametrize(
    ("path", "system"),
    [
        (f"topics/_snapshots/{1:020d}.json", "Rookery"),
        ("_delta_log/00000000000000000000.json", "Delta"),
        ("iceberg/metadata/00001-aa.metadata.json", "Iceberg"),
    ],
)
def test_it_refuses_a_table_inside(table: KeyTable, path: str, system: str):
    vacuumed(table)
    table.put(path)
    with pytest.raises(ConfigError, match=f"{path}: belongs to a table of {system} inside this one"):
        review(table.snapshots, KEPT)


def test_it_refuses_a_table_around(table: KeyTable):
    (table.folder.parent / "_snapshots").mkdir()
    (table.folder.parent / f"_snapshots/{1:020d}.json").touch()
    with pytest.raises(ConfigError, match=f"lies inside another table, file://{table.folder.parent}, which has a _sna"):
        review(table.snapshots, KEPT)


def test_a_folder_that_is_no_table_is_refused(tmp_path: Path, table: KeyTable):
    for folder in (tmp_path, table.folder / "data"):
        with pytest.raises(ConfigError, match="has no snapshot; expected the folder"):
            vacuum(Snapshots(Storage(), str(folder)), KEPT, lambda _: None)
        assert not (folder / "_vacuum").exists()


class LoggedStorage(Storage):
    """Writes down its changes, and fails before or after the n-th."""

    log: list[tuple[str, str]]
    lock: threading.Lock
    last: int
    after: bool
    error: type[BaseException]

    def _change(self, call: str, change: Any, uri: str, *arguments: Any) -> Any:
        with self.lock:
            self.log.append((call, uri))
            is_last = len(self.log) == self.last
        if is_last and not self.after:
            raise self.error("failed")
        result = change(uri, *arguments)
        if is_last:
            raise self.error("failed")
        return result

    def put(self, uri: str, data: bytes) -> None:
        self._change("put", super().put, uri, data)

    def put_if_absent(self, uri: str, data: bytes) -> bool:
        return bool(self._change("put_if_absent", super().put_if_absent, uri, data))

    def delete(self, uri: str) -> None:
        self._change("delete", super().delete, uri)


def logged(
    snapshots: Snapshots, last: int = 0, *, after: bool = False, error: type[BaseException] = DyingError
) -> Snapshots:
    storage = LoggedStorage()
    facts = {"log": [], "lock": threading.Lock(), "last": last, "after": after, "error": error}
    for name, value in facts.items():
        object.__setattr__(storage, name, value)
    return Snapshots(storage, snapshots.table_uri)


def calls(snapshots: Snapshots) -> list[tuple[str, str]]:
    assert isinstance(snapshots.storage, LoggedStorage)
    return snapshots.storage.log


@pytest.mark.parametrize(
    ("error", "after"),
    [(DyingError, False), (DyingError, True), (StorageError, False), (StorageError, True)],
    ids=["killed before", "killed after", "refused", "reply lost"],
)
def test_stopped_at_any_change_and_run_again_it_ends_the_same(
    table: KeyTable, error: type[BaseException], after: bool, tmp_path: Path
):
    table.vacuum()
    table.later(8)
    undisturbed = KeyTable(Path(shutil.copytree(table.folder, tmp_path / "undisturbed")))
    undisturbed.vacuum()
    whole = content(undisturbed)
    for step in range(1, 200, 1 if error is DyingError else 3):
        again = KeyTable(Path(shutil.copytree(table.folder, tmp_path / f"stopped-{step}")))
        try:
            vacuum(logged(again.snapshots, step, after=after, error=error), KEPT, lambda _: None)
        except error:
            check_whole(again)
            again.vacuum()
            assert content(again) == whole, step
            check_whole(again)
            shutil.rmtree(again.folder)
        else:
            break
    assert step > len(undisturbed.snapshots.vacuumed()) + len(tree(table.folder).keys() - whole.keys())


def content(table: KeyTable) -> dict[str, bytes]:
    """All that is there but for what says when, and the records of those that were stopped."""
    return {
        path: b"" if path.endswith(".vacuumed") else data
        for path, data in tree(table.folder).items()
        if not path.startswith("_vacuum/records/")
    }


def test_two_at_once_come_to_the_same(table: KeyTable, tmp_path: Path):
    table.vacuum()
    table.later(8)
    undisturbed = KeyTable(Path(shutil.copytree(table.folder, tmp_path / "undisturbed")))
    undisturbed.vacuum()
    threads = [threading.Thread(target=table.vacuum) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert objects(table) == objects(undisturbed)
    check_whole(table)


def test_what_becomes_needed_while_it_deletes_stays(table: KeyTable, monkeypatch: pytest.MonkeyPatch):
    """A run that publishes what was claimed long ago, underneath: seen before the next objects go."""
    monkeypatch.setattr("pipeline.tables.vacuum.DELETED_TOGETHER", 1)
    table.vacuum()
    table.later(8)
    beats = table.folder / f"_units/{OLD_KEY}/runs/{'1' * 16}"
    fragments = old_fragments(table)

    def beat(_: str) -> None:
        beats.parent.mkdir(exist_ok=True)
        beats.touch()

    vacuum(table.snapshots, KEPT, beat)
    assert old_fragments(table) == fragments
