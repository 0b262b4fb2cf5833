"""Lists of a snapshot's files, on tables made by hand."""

import json
from pathlib import Path

import duckdb
import pytest

from pipeline.tables.erasure import erase_documents
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Manifest
from tests.tables.test_publish import RUN, Table


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path / "a table")
    table.publish(table.unit(1), table.unit(2, "b", failed=True))
    table.publish(table.unit(1), table.unit(3, "c/d"))
    return table


def listed(table: Table, ending: str, snapshot: int) -> list[str]:
    return (table.folder / f"_snapshots/{snapshot:020d}{ending}").read_text().splitlines()


def ids(uris: list[str]) -> list[str]:
    return [id_ for (id_,) in duckdb.sql(f"SELECT id FROM read_parquet({uris}) ORDER BY id").fetchall()]


def check(table: Table, manifest: Manifest) -> None:
    """Each list names what the manifest says, as it lies there."""
    number = manifest.snapshot
    files = {f"file://{table.folder}/{file.path}": file for file in manifest.files if file.kind == "data"}
    added = [uri for uri, file in files.items() if file.state == "added"]
    removed = [f"file://{table.folder}/{path}" for path in manifest.removed if path.startswith("data/")]
    assert listed(table, ".files.txt", number) == [*files]
    assert listed(table, ".added.txt", number) == added
    assert listed(table, ".removed.txt", number) == removed
    for ending, uris in ((".redshift", [*files]), (".added.redshift", added)):
        entries = json.loads("\n".join(listed(table, ending, number)))["entries"]
        assert [entry["url"] for entry in entries] == uris
        assert all(entry["mandatory"] for entry in entries)
        sizes = [Path(uri.removeprefix("file://")).stat().st_size for uri in uris]
        assert [entry["meta"]["content_length"] for entry in entries] == sizes


def test_whole_and_difference(table: Table):
    for number in (1, 2):
        check(table, table.snapshots.read(number))
    assert ids(listed(table, ".files.txt", 1)) == ["1-x", "1-y", "2-x"]
    assert ids(listed(table, ".files.txt", 2)) == ["1-x", "1-y", "3-x", "3-y"]
    assert ids(listed(table, ".added.txt", 2)) == ["3-x", "3-y"]
    assert ids(listed(table, ".removed.txt", 2)) == ["2-x"]


def test_of_a_rollback_too(table: Table):
    check(table, roll_back(table.snapshots, 1, RUN))
    assert ids(listed(table, ".added.txt", 3)) == ["2-x"]


def test_an_erasure_writes_them_anew(table: Table):
    erase_documents(table.snapshots, ["3-x"], print)
    for number in (1, 2):
        check(table, table.snapshots.read(number))
    assert ids(listed(table, ".files.txt", 2)) == ["1-x", "1-y", "3-y"]
