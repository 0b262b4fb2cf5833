"""Which files a load is made of, and which differences there are none of."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, RookeryError
from pipeline.tables.groups import TableLayout
from pipeline.tables.snapshots import Manifest, SnapshotFile, Snapshots
from pipeline.warehouses.loads import plan_load
from tests.tables.test_publish import Table
from tests.warehouses.tables import Published, first_night, published, second_night


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Published:
    table = published(tmp_path_factory.mktemp("made"))
    table.night(first_night())
    table.night(second_night())
    return table


@pytest.fixture
def table(made: Published, tmp_path: Path) -> Published:
    return Published(Path(shutil.copytree(made.folder, tmp_path / made.folder.name)))


def rewrite(table: Table, number: int, manifest: Manifest) -> None:
    table.snapshots.storage.put(table.snapshots.manifest_uri(number), manifest.dump())


def ids(table: Published, files: tuple[SnapshotFile, ...]) -> list[str]:
    return [id_ for file in files for id_ in pq.ParquetFile(table.folder / file.path).read(["id"])["id"].to_pylist()]


def test_a_difference_has_all_documents_that_changed(made: Published):
    load = plan_load(made.snapshots, 1)
    before, after = first_night(), second_night()
    changed = {id_ for id_ in {*before, *after} if before.get(id_) != after.get(id_)}
    came, went = ids(made, load.added), ids(made, load.removed)
    assert changed <= {*came, *went}
    assert {*before} - {*went} | {*came} == {*after}
    assert len(load.added) < len([file for file in load.manifest.files if file.kind == "data"])


def test_digest_and_rows_are_the_snapshot_s(made: Published, table: Published):
    load = plan_load(made.snapshots, 1)
    assert load.rows == load.manifest.counts["predictions"]
    manifest = table.snapshots.read(2)
    old = [replace(file, rows_digest=None) for file in manifest.files]
    rewrite(table, 2, replace(manifest, files=old))
    assert plan_load(table.snapshots).digest == load.digest, "files of an older version are read for it"


def test_types_are_those_of_the_files(made: Published):
    load = plan_load(made.snapshots)
    scores = load.columns.field("scores").type
    assert pa.types.is_list(scores)
    assert [field.name for field in scores.value_type] == ["label", "score"]
    assert [field.name for field in load.partitions] == ["group"]
    assert load.columns.field("order").type == load.columns.field("group").type == pa.string()


def test_statements_name_no_more_files_than_engines_take(made: Published):
    load = plan_load(made.snapshots)
    many = tuple(replace(load.added[0], path=f"data/snapshot={2:020d}/part-{n:05d}.parquet") for n in range(4321))
    batches = list(load.batches(many))
    assert [uri for batch in batches for uri in batch.uris] == [f"{load.table_uri}/{file.path}" for file in many]
    assert max(len(batch.uris) for batch in batches) <= 1000
    assert max(sum(map(len, batch.uris)) for batch in batches) <= 100_000
    assert len(batches) < 20


@pytest.mark.parametrize(
    ("since", "problem"),
    [
        (7, "has no snapshot 7; it has 1, 2"),
        (3, "snapshot 3 is partial"),
    ],
)
def test_there_is_no_difference_from_a_snapshot_that_is_unknown_or_partial(table: Published, since: int, problem: str):
    if since == 3:
        rewrite(table, 3, replace(table.snapshots.read(2), snapshot=3, partial=True))
    with pytest.raises(ConfigError, match=problem):
        plan_load(table.snapshots, since)


def test_nor_from_one_that_was_vacuumed(table: Published):
    table.snapshots.mark_vacuumed(1, {"vacuumed_at": "2026-01-02"})
    with pytest.raises(ConfigError, match="snapshot 1 was vacuumed at 2026-01-02"):
        plan_load(table.snapshots, 1)


def test_nor_where_the_columns_differ(table: Published):
    table.night(second_night(), layout=TableLayout(("order",), ("group",), 4))
    with pytest.raises(ConfigError, match="snapshots 2 and 3 have different columns; load the whole snapshot"):
        plan_load(table.snapshots, 2)
    assert [field.name for field in plan_load(table.snapshots).partitions] == ["order"]


def test_nor_where_documents_share_an_id(table: Published):
    manifest = table.snapshots.read(1)
    rewrite(table, 1, replace(manifest, counts=manifest.counts | {"duplicate_ids": 2}))
    with pytest.raises(ConfigError, match="snapshot 1 has 2 ids that several documents share"):
        plan_load(table.snapshots, 1)


def test_what_is_no_table_is_refused(tmp_path: Path, table: Published):
    with pytest.raises(ConfigError, match="has no complete snapshot"):
        plan_load(Snapshots(table.snapshots.storage, str(tmp_path / "nothing")))


def test_a_file_with_other_columns_than_the_manifest_says_is_an_error(table: Published):
    manifest = table.snapshots.read(2)
    columns = [column | ({"type": "double"} if column["name"] == "n_tokens" else {}) for column in manifest.columns]
    rewrite(table, 2, replace(manifest, columns=columns))
    with pytest.raises(RookeryError, match=r"expected those of its manifest, .*n_tokens double"):
        plan_load(table.snapshots)
