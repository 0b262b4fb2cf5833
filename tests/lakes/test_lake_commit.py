"""Commits to both kinds of lake tables: what others read there, and every fault that others met."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipeline.config.label import StorageSettings
from pipeline.errors import ConfigError, ConflictError, RookeryError, UnavailableError
from pipeline.lakes.lake_commit import COMMIT_TRIES, Lake, commit_newest
from pipeline.lakes.lake_files import LakeVersion
from pipeline.storage.objects import Storage
from pipeline.tables.erasure import erase_documents
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Snapshots
from pipeline.tasks.classification import Classification
from tests.dying_storage import DyingError, dying
from tests.lakes.readers import DeltaFolder, IcebergFolder, LakeFolder
from tests.lakes.unreliable_catalog import UnreliableCatalog
from tests.tables.test_publish import RUN, Table

IDS = ("table", "snapshot", "content", "scoring_key", "decision_key", "files")
AT_ONCE = StorageSettings(retry=0)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "table")


@pytest.fixture(params=[IcebergFolder, DeltaFolder], ids=["iceberg", "delta"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> LakeFolder:
    UnreliableCatalog.faults.clear()
    kind: Callable[[Path], LakeFolder] = request.param
    return kind(tmp_path / "lake")


@pytest.fixture
def iceberg(tmp_path: Path) -> IcebergFolder:
    UnreliableCatalog.faults.clear()
    return IcebergFolder(tmp_path / "lake")


def nights(table: Table) -> list[Callable[[], Any]]:
    """What is published one night after the other: adds, removals, a rollback, the same again."""
    one, two, three = table.unit(1), table.unit(2, "b c/%", failed=True), table.unit(3, None)
    return [
        lambda: table.publish(one, two, three),
        lambda: table.publish(one, three, table.unit(4)),
        lambda: roll_back(table.snapshots, 1, RUN),
        lambda: roll_back(table.snapshots, 2, RUN),
    ]


def plain(rows: pa.Table) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = rows.select(sorted(rows.column_names)).to_pylist()
    return sorted(listed, key=lambda row: str(row["id"]))


def expected(table: Table) -> list[dict[str, Any]]:
    """The newest snapshot as DuckDB reads its folder."""
    latest = table.snapshots.latest()
    assert latest is not None
    folder = f"{table.folder}/{table.snapshots.folder('data', latest.snapshot)}"
    rows = duckdb.sql(
        f"select * exclude (snapshot) from read_parquet('{folder}**/*.parquet', hive_partitioning = true, "
        "hive_types_autocast = false)"
    )
    return plain(rows.to_arrow_table())


def check_whole(folder: LakeFolder, table: Table) -> None:
    """The newest snapshot as others read it, and no path that came twice."""
    assert plain(folder.rows()) == expected(table)
    assert set(folder.added().values()) == {1}
    assert len({tuple(version[f"rookery.{name}"] for name in IDS) for version in folder.versions()}) == len(
        folder.versions()
    )


def test_every_night_reads_back_equal_and_no_path_comes_back(folder: LakeFolder, table: Table):
    gone: set[str] = set()
    before: set[str] = set()
    for number, publish in enumerate(nights(table), start=1):
        publish()
        committed = commit_newest(folder.lake(), table.snapshots)
        assert committed is not None
        check_whole(folder, table)
        current = folder.current()
        assert (committed.added, committed.removed) == (len(current - before), len(before - current))
        assert committed.rows == len(folder.rows())
        assert not current & gone
        gone, before = gone | before - current, current
        assert len(folder.versions()) == number
        assert commit_newest(folder.lake(), table.snapshots) is None
    assert len(folder.versions()) == 4


def test_a_night_changes_exactly_the_files_that_changed(folder: LakeFolder, table: Table):
    first, second, *_ = nights(table)
    first()
    commit_newest(folder.lake(), table.snapshots)
    before = folder.current()
    manifest = second()
    commit_newest(folder.lake(), table.snapshots)
    files = [file for file in manifest.files if file.kind == "data"]
    assert len(folder.current() & before) == len([file for file in files if file.state == "kept"]) == 2
    assert len(folder.current() - before) == len([file for file in files if file.state == "added"]) == 1


def test_a_commit_carries_its_ids(folder: LakeFolder, table: Table):
    manifest = table.publish(table.unit(1))
    commit_newest(folder.lake(), table.snapshots)
    (version,) = folder.versions()
    assert [version[f"rookery.{name}"] for name in IDS[:-1]] == [
        f"file://{table.folder}",
        "1",
        manifest.content,
        manifest.scoring_key,
        manifest.decision_key,
    ]


def test_an_append_is_one_and_a_replacement_is_one(iceberg: IcebergFolder, table: Table):
    table.publish(table.unit(1))
    commit_newest(iceberg.lake(), table.snapshots)
    table.publish(table.unit(1), table.unit(2, "b"))
    commit_newest(iceberg.lake(), table.snapshots)
    table.publish(table.unit(1))
    commit_newest(iceberg.lake(), table.snapshots)
    operations = [version["operation"] for version in iceberg.versions()]
    assert operations[:2] == ["append", "append"]
    assert operations[2] in ("overwrite", "delete")


def test_skipped_snapshots_and_a_table_that_was_made_anew(folder: LakeFolder, table: Table, tmp_path: Path):
    for publish in nights(table)[:2]:
        publish()
    commit_newest(folder.lake(), table.snapshots)
    check_whole(folder, table)
    table.folder.rename(tmp_path / "old")
    anew = Table(table.folder)
    anew.publish(anew.unit(7), anew.unit(3, None))
    commit_newest(folder.lake(), anew.snapshots)
    check_whole(folder, anew)


def test_a_partial_snapshot_is_not_committed(folder: LakeFolder, table: Table):
    table.publish(table.unit(1), partial=True)
    assert commit_newest(folder.lake(), table.snapshots) is None
    table.publish(table.unit(1))
    table.publish(table.unit(2), partial=True)
    commit_newest(folder.lake(), table.snapshots)
    assert folder.rows()["id"].to_pylist() == ["1-x", "1-y"]


def test_an_erasure_under_the_same_number_is_committed(folder: LakeFolder, table: Table):
    table.publish(table.unit(1), table.unit(2, "b"))
    commit_newest(folder.lake(), table.snapshots)
    erase_documents(table.snapshots, ["1-x"], lambda _: None)
    committed = commit_newest(folder.lake(), table.snapshots)
    assert committed is not None
    assert (committed.snapshot, committed.added, committed.removed) == (1, 1, 1)
    assert sorted(folder.rows()["id"].to_pylist()) == ["1-y", "2-x", "2-y"]
    check_whole(folder, table)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_change_the_next_run_ends_right(folder: LakeFolder, table: Table, after: bool):
    """A reader sees the night before, or this one, and never a part."""
    first, second, *_ = nights(table)
    first()
    commit_newest(folder.lake(), table.snapshots)
    before = plain(folder.rows())
    second()
    for step in itertools.count(1):
        storage = dying(step, after=after)
        try:
            commit_newest(folder.lake(storage), Snapshots(storage, str(table.folder)))
        except DyingError:
            assert plain(folder.rows()) in (before, expected(table))
            deaths = step
        else:
            break
    assert deaths == (1 if isinstance(folder, IcebergFolder) else 2)  # copies, and Delta's log
    assert commit_newest(folder.lake(), table.snapshots) is None
    check_whole(folder, table)


@pytest.mark.parametrize("fault", ["dies before", "dies after"])
def test_killed_at_the_catalog_the_next_run_ends_right(iceberg: IcebergFolder, table: Table, fault: str):
    table.publish(table.unit(1))
    UnreliableCatalog.faults.append(fault)
    with pytest.raises(DyingError):
        commit_newest(iceberg.lake(), table.snapshots)
    assert len(iceberg.versions()) == (fault == "dies after")
    commit_newest(iceberg.lake(), table.snapshots)
    check_whole(iceberg, table)
    assert len(iceberg.versions()) == 1


@pytest.mark.parametrize("faults", [["lost reply"], ["unavailable", "lost reply"], ["conflict", "unavailable"]])
def test_an_unknown_outcome_is_looked_up_before_it_is_tried_again(
    iceberg: IcebergFolder, table: Table, faults: list[str]
):
    table.publish(table.unit(1))
    commit_newest(iceberg.lake(), table.snapshots)
    table.publish(table.unit(1), table.unit(2, "b"))
    UnreliableCatalog.faults += faults
    before = UnreliableCatalog.commits
    committed = commit_newest(iceberg.lake(), table.snapshots)
    assert committed is not None
    assert committed.added == 1
    tries = len(faults) + (faults[-1] != "lost reply")
    assert UnreliableCatalog.commits - before == tries
    check_whole(iceberg, table)
    assert len(iceberg.versions()) == 2


def test_a_catalog_that_stays_away_and_a_conflict_that_persists(iceberg: IcebergFolder, table: Table, monkeypatch: Any):
    table.publish(table.unit(1))
    storage = Storage(AT_ONCE)
    UnreliableCatalog.faults += ["unavailable"]
    with pytest.raises(
        UnavailableError, match=r"Iceberg table predictions.topics of catalog 'lake': the catalog failed"
    ):
        commit_newest(iceberg.lake(storage), Snapshots(storage, str(table.folder)))
    monkeypatch.setattr("pipeline.lakes.lake_commit.LONGEST_PAUSE", 0.01)
    UnreliableCatalog.faults += ["conflict"] * COMMIT_TRIES
    with pytest.raises(ConflictError, match="tried 10 times"):
        commit_newest(iceberg.lake(), table.snapshots)
    commit_newest(iceberg.lake(), table.snapshots)
    check_whole(iceberg, table)


def test_a_stale_handle_adds_nothing(folder: LakeFolder, table: Table):
    """The danger of pyiceberg's own retry: two handles that add a file, and both are accepted."""
    lake, rows = _Paused(folder.lake()), table.publish(table.unit(1)).counts["predictions"]
    lake.overtaken = lambda: commit_newest(folder.lake(), table.snapshots)
    assert commit_newest(lake, table.snapshots) is not None
    assert len(folder.rows()) == rows
    assert len(folder.versions()) == 1
    check_whole(folder, table)


def test_an_older_snapshot_never_goes_over_a_newer_one(folder: LakeFolder, table: Table):
    first, second, *_ = nights(table)
    first()
    lake = _Paused(folder.lake())

    def overtaken() -> None:
        second()
        commit_newest(folder.lake(), table.snapshots)

    lake.overtaken = overtaken
    commit_newest(lake, table.snapshots)
    assert [version["rookery.snapshot"] for version in folder.versions()] == ["2"]
    check_whole(folder, table)


def test_a_handle_of_somebody_elses_does_not_retry_either(iceberg: IcebergFolder, table: Table):
    from pyiceberg.exceptions import CommitFailedException

    table.publish(table.unit(1))
    commit_newest(iceberg.lake(), table.snapshots)
    handles = [iceberg.table(), iceberg.table()]
    (path,) = (str(p) for p in (table.folder / "data").rglob("*.parquet"))
    mended = iceberg.folder / "same.parquet"
    rows = duckdb.sql(f"select * from read_parquet('{path}', hive_partitioning = false)")
    rows.write_parquet(str(mended))
    handles[0].add_files([str(mended)])
    with pytest.raises(CommitFailedException):
        handles[1].add_files([str(mended)])
    commit_newest(iceberg.lake(), table.snapshots)  # ours is there already: what others did on top stays their doing
    assert len(iceberg.rows()) == 4
    table.publish(table.unit(1), table.unit(2))
    commit_newest(iceberg.lake(), table.snapshots)
    assert plain(iceberg.rows()) == expected(table)


def test_several_at_once_end_right(folder: LakeFolder, table: Table):
    nights(table)[0]()
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: commit_newest(folder.lake(), table.snapshots), range(4)))) == 4
    assert len(folder.versions()) == 1
    check_whole(folder, table)


def test_a_new_column_is_added_and_a_changed_one_refused(folder: LakeFolder, table: Table):
    table.publish(table.unit(1))
    commit_newest(folder.lake(), table.snapshots)
    old = folder.rows().schema
    table.publish(table.unit(1), table.unit(2), task=Classification("multi_label", ("cat", "dog")))
    commit_newest(folder.lake(), table.snapshots)
    rows = folder.rows()
    assert rows.schema.names[: len(old.names)] == old.names
    assert {row["id"]: row["labels"] for row in rows.to_pylist()}["1-x"] == ["cat", "dog"]
    assert set(rows["label"].to_pylist()) == {None}


def test_a_changed_type_is_refused(folder: LakeFolder, table: Table):
    manifest = table.publish(table.unit(1))
    schema = pa.schema([("id", pa.string()), ("n_tokens", pa.string()), ("part", pa.string())])
    folder.lake().create(schema, manifest.partition_by, f"file://{table.folder}")
    with pytest.raises(ConfigError, match=r"(?s)n_tokens.*name another"):
        commit_newest(folder.lake(), table.snapshots)


def test_types_that_a_lake_does_not_have_are_refused(folder: LakeFolder, table: Table):
    lake = folder.lake()
    for kind in (pa.duration("us"), pa.uint32(), pa.list_(pa.uint64())):
        with pytest.raises(ConfigError, match="can't have the table's columns"):
            lake.create(pa.schema([("id", pa.string()), ("odd", kind)]), [], f"file://{table.folder}")
    assert lake.load() is None


def test_a_lake_table_of_somebody_elses_is_refused(folder: LakeFolder, table: Table, tmp_path: Path):
    table.publish(table.unit(1))
    commit_newest(folder.lake(), table.snapshots)
    other = Table(tmp_path / "other")
    other.publish(other.unit(2))
    with pytest.raises(ConfigError, match=f"is that of file://{table.folder}; expected one that is .*other's alone"):
        commit_newest(folder.lake(), other.snapshots)
    check_whole(folder, table)


@pytest.mark.parametrize("kind", [IcebergFolder, DeltaFolder])
def test_a_lake_inside_the_table_is_refused(kind: Callable[[Path], LakeFolder], table: Table):
    table.publish(table.unit(1))
    with pytest.raises(ConfigError, match="neither may lie in the other"):
        commit_newest(kind(table.folder / "lake").lake(), table.snapshots)


def test_what_does_not_read_back_is_an_error_that_names_both(folder: LakeFolder, table: Table):
    table.publish(table.unit(1), table.unit(2, "b"))
    with pytest.raises(RookeryError, match=r"was read back .* is not snapshot 1 of .*table: 1 files are missing"):
        commit_newest(_Forgetful(folder.lake()), table.snapshots)


class _Wrapped:
    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)


class _Paused(_Wrapped):
    """Somebody else commits between its first look and its commit."""

    overtaken: Callable[[], Any] | None = None

    def commit(self, *arguments: Any) -> None:
        if self.overtaken:
            overtaken, self.overtaken = self.overtaken, None
            overtaken()
        self._lake.commit(*arguments)


class _Forgetful(_Wrapped):
    def load(self) -> LakeVersion | None:
        version = self._lake.load()
        if version is None or not version.files:
            return version
        files = dict(list(version.files.items())[1:])
        return LakeVersion(version.location, files, version.ids, version.owner, version.handle)
