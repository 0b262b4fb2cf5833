"""Vacuum beside lake tables: what they name stays, copies that none names go after the grace."""

import os
import time
from pathlib import Path

import pytest

from pipeline.config.label import StorageSettings
from pipeline.config.lakes import IcebergSettings
from pipeline.errors import UnavailableError
from pipeline.lakes.iceberg_lake import IcebergLake
from pipeline.lakes.lake_commit import commit_newest
from pipeline.lakes.lake_records import register
from pipeline.lakes.lake_vacuum import delete_orphans, review_lakes
from pipeline.storage.objects import Storage
from pipeline.tables.reachability import DAY_SECONDS, Retention
from pipeline.tables.snapshots import Snapshots
from pipeline.tables.vacuum import vacuum
from tests.dying_storage import DyingError, dying
from tests.lakes.readers import DeltaFolder, IcebergFolder, LakeFolder
from tests.lakes.test_lake_commit import check_whole, nights
from tests.lakes.unreliable_catalog import UnreliableCatalog
from tests.s3 import free_ports
from tests.tables.test_vacuum import KEPT, KeyTable

ONE = Retention(snapshots=1, days=0, grace_days=7)


@pytest.fixture
def table(tmp_path: Path) -> KeyTable:
    return KeyTable(tmp_path / "table")


@pytest.fixture(params=[IcebergFolder, DeltaFolder], ids=["iceberg", "delta"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> LakeFolder:
    UnreliableCatalog.faults.clear()
    kind: type[IcebergFolder | DeltaFolder] = request.param
    return kind(tmp_path / "lake")


def age(folder: LakeFolder, days: float) -> None:
    for path in filter(Path.is_file, folder.folder.rglob("*.parquet")):
        moment = time.time() - days * DAY_SECONDS
        os.utime(path, (moment, moment))


def test_copies_of_a_killed_commit_go_after_the_grace_and_history_stays(folder: LakeFolder, table: KeyTable):
    first, second, third, _ = nights(table)
    register(table.snapshots, folder.lake())
    for night in (first, second):
        night()
        commit_newest(folder.lake(), table.snapshots)
    third()
    storage = dying(1, after=True)
    with pytest.raises(DyingError):
        commit_newest(folder.lake(storage), Snapshots(storage, str(table.folder)))
    age(folder, 6)
    needs = table.vacuum(KEPT)[0].needs
    assert review_lakes(table.snapshots).orphans(needs) == []
    age(folder, 8)
    named = set(folder.added())
    orphans = review_lakes(table.snapshots).orphans(needs)
    assert orphans
    assert not {file.uri for file in orphans} & named
    delete_orphans(table.snapshots, orphans)
    assert {f"file://{path}" for path in (folder.folder).rglob("data/*.parquet")} == named
    commit_newest(folder.lake(), table.snapshots)
    check_whole(folder, table)


def test_a_checkpoint_of_the_log_still_names_its_files(table: KeyTable, tmp_path: Path):
    folder = DeltaFolder(tmp_path / "lake")
    register(table.snapshots, folder.lake())
    for number in range(1, 12):
        table.publish(table.unit(1, "same"), table.unit(number + 1))
        commit_newest(folder.lake(), table.snapshots)
    log = folder.folder / "_delta_log"
    assert [path.name for path in log.glob("*.parquet")] == [f"{10:020d}.checkpoint.parquet"]
    for number in range(10):
        (log / f"{number:020d}.json").unlink()  # as Delta's own cleaning does
    named = folder.lake().named()
    assert folder.current() <= named
    check_rows = {row["id"] for row in folder.rows().to_pylist()}
    assert check_rows == {"1-x", "1-y", "12-x", "12-y"}


def test_a_file_of_the_table_that_a_lake_names_stays(table: KeyTable, tmp_path: Path):
    """Whoever registered the table's own files by hand, as people do with add_files."""
    folder = IcebergFolder(tmp_path / "lake")
    first, second, *_ = nights(table)
    first()
    lake = folder.lake()
    register(table.snapshots, lake)
    commit_newest(lake, table.snapshots)
    path = next((table.folder / "data").rglob("part=a/*.parquet"))
    folder.table().add_files([str(path)])
    second()
    assert review_lakes(table.snapshots).named_here == {str(path.relative_to(table.folder))}
    for _ in range(2):
        named = review_lakes(table.snapshots).named_here
        vacuum(table.snapshots, ONE, lambda _: None, named)
        table.later(8)
    assert path.exists()
    assert [
        p.name for p in (table.folder / "data").rglob("*.parquet") if "snapshot=00000000000000000001" in str(p)
    ] == [path.name]
    for _ in range(2):
        vacuum(table.snapshots, ONE, lambda _: None)
        table.later(8)
    assert not path.exists()


def test_a_catalog_that_cannot_be_asked_keeps_everything(table: KeyTable):
    nights(table)[0]()
    (port,) = free_ports(1)
    settings = IcebergSettings(table="a.b", properties={"uri": f"http://127.0.0.1:{port}"})
    register(table.snapshots, IcebergLake(settings, Storage()))
    snapshots = Snapshots(Storage(StorageSettings(retry=0)), str(table.folder))
    with pytest.raises(UnavailableError, match=r"(?s)iceberg://rookery: .*nothing is deleted.*remove its object in"):
        review_lakes(snapshots)


def test_a_table_that_was_made_by_somebody_else_loses_nothing(folder: LakeFolder, table: KeyTable, tmp_path: Path):
    nights(table)[0]()
    commit_newest(folder.lake(), table.snapshots)
    other = KeyTable(tmp_path / "other")
    nights(other)[0]()
    register(other.snapshots, folder.lake())
    assert review_lakes(other.snapshots).unnamed == []
