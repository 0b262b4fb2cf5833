"""Iceberg tables, written by pyiceberg and by hand, against what pyiceberg itself reads of them."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform, TruncateTransform
from pyiceberg.types import StringType

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.carried_types import carried_columns
from pipeline.corpus.files import discover
from pipeline.corpus.lake_file import TableVersion
from pipeline.corpus.slices import Unit
from pipeline.corpus.units import cut
from pipeline.errors import ConfigError, CorpusError, StorageError
from pipeline.schema import CARRIED
from tests.corpus.files import STORAGE, found, put, read
from tests.corpus.iceberg_tables import catalog_in, commit_deletes, data_files, delete_rows, refresh_environment
from tests.corpus.lakes import Rows, rows_of, units_of

URI = "iceberg://lake/ns.t"
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    return catalog_in(tmp_path / "lake", monkeypatch)


def documents(first: int, count: int = 6, **columns: Any) -> pa.Table:
    numbers = range(first, first + count)
    ids, texts = [f"d{n}" for n in numbers], [f"text {n}" for n in numbers]
    return pa.table({"id": ids, "text": texts, "day": [DAYS[n % 3] for n in numbers]} | columns)


def new_table(catalog: Catalog, *tables: pa.Table) -> Table:
    table = catalog.create_table("ns.t", tables[0].schema)
    for some in tables:
        table.append(some)
    return table


def newest(table: Table) -> int:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return snapshot.snapshot_id


def units(uri: str = URI, text_bytes: int = 16_000_000, **options: Any) -> list[Unit]:
    return units_of(uri, text_bytes, **options)


def rows(uri: str = URI, text_bytes: int = 16_000_000, **options: Any) -> Rows:
    return rows_of(uri, text_bytes, **options)


def expected(table: Table, snapshot: int | None = None, text: str = "text") -> Rows:
    return sorted((row["id"], row[text]) for row in table.scan(snapshot_id=snapshot).to_arrow().to_pylist())


def ids(planned: list[Unit]) -> list[str]:
    return sorted(unit.id("") for unit in planned)


def test_each_version_is_read_as_the_library_reads_it(catalog: Catalog) -> None:
    table = new_table(catalog, documents(0), documents(6))
    table.manage_snapshots().create_tag(newest(table), "v1").commit()
    table.delete("id = 'd3'")
    table.overwrite(documents(20, 2), "id in ('d7', 'd8')")
    table.manage_snapshots().create_branch(newest(table), "audit").commit()
    table.append(documents(30, 3), branch="audit")
    assert rows() == expected(table)
    assert len(rows()) == 11
    for snapshot in table.snapshots():
        assert rows(f"{URI}@{snapshot.snapshot_id}") == expected(table, snapshot.snapshot_id)
    for name in ("v1", "audit"):
        assert rows(f"{URI}@{name}") == expected(table, table.refs()[name].snapshot_id)
    version = TableVersion("Iceberg", URI, str(newest(table)))
    assert discover(STORAGE, CorpusSettings(uris=(URI,))).tables == (version,)


def test_deleted_rows_are_left_out_and_the_others_keep_their_positions(catalog: Catalog) -> None:
    table = new_table(catalog, documents(0, 10), documents(10), documents(20, 2))
    first, second, third = sorted(data_files(table), key=lambda file: -file.record_count)
    before = units()
    delete_rows(table, {first.file_path: [0, 3, 9], third.file_path: [0, 1]})
    assert rows() == expected(table)
    assert len(rows()) == 13
    (unit,) = [unit for unit in units() if unit.file.stored.size == first.file_size_in_bytes]
    assert read(STORAGE, unit)["position"].to_pylist() == [1, 2, 4, 5, 6, 7, 8]
    # the delete file's bounds span the second file too, of which it has no row: that is what it was
    assert len(set(ids(before)) & set(ids(units()))) == 1
    twice = ids(units())
    delete_rows(table, {first.file_path: [3]})
    assert ids(units()) == twice
    delete_rows(table, {second.file_path: [1]})
    assert rows() == expected(table)
    assert len(set(twice) & set(ids(units()))) == 1


def test_deleted_rows_in_a_puffin_file(catalog: Catalog) -> None:
    """Made by the table's library out of what it reads; such files are of format 3, which it doesn't write."""
    table = new_table(catalog, documents(0, 10))
    (file,) = data_files(table)
    path = f"{table.location()}/data/deletes.puffin"
    put(Path(path.removeprefix("file://")), puffin(file.file_path, [2, 4]))
    commit_deletes(table, path, FileFormat.PUFFIN, 2)
    assert rows() == expected(table)
    assert len(rows()) == 8
    by_puffin = ids(units())
    delete_rows(table, {file.file_path: [2, 4]})
    assert ids(units()) == by_puffin  # the same rows, told otherwise


def puffin(path: str, deleted: list[int]) -> bytes:
    import json
    import struct
    import zlib

    from pyroaring import BitMap

    bitmap = struct.pack("<IQI", 1681511377, 1, 0) + BitMap(deleted).serialize()
    blob = struct.pack(">I", len(bitmap)) + bitmap + struct.pack(">I", zlib.crc32(bitmap))
    properties = {"referenced-data-file": path, "cardinality": str(len(deleted))}
    entry = {
        "type": "deletion-vector-v1",
        "fields": [],
        "snapshot-id": -1,
        "sequence-number": -1,
        "offset": 4,
        "length": len(blob),
        "properties": properties,
    }
    footer = json.dumps({"blobs": [entry]}).encode()
    return b"PFA1" + blob + b"PFA1" + footer + struct.pack("<II", len(footer), 0) + b"PFA1"


def test_rows_deleted_in_row_groups_that_are_cut(catalog: Catalog) -> None:
    table = new_table(catalog, documents(0, 1))
    big = documents(100, 400)
    path = f"{table.location()}/data/big.parquet"
    pq.write_table(big.cast(table.schema().as_arrow()), path.removeprefix("file://"), row_group_size=100)
    table.add_files([path])
    gone = [*range(20, 140), 399]
    delete_rows(table, {path: gone})
    assert rows(text_bytes=10_000) == expected(table)
    cut_units = units(text_bytes=10_000)
    assert len(cut_units) > 5
    assert sum(unit.documents or 0 for unit in cut_units) == 401 - len(gone)


def test_columns_that_were_added_renamed_and_swapped(catalog: Catalog) -> None:
    table = new_table(catalog, documents(0, title=[f"title {n}" for n in range(6)]))
    with table.update_schema() as update:
        update.add_column("summary", StringType())
    before = units(text_column="text")
    assert rows(text_column="summary") == expected(table, text="summary") == [(f"d{n}", None) for n in range(6)]
    with table.update_schema() as update:
        update.rename_column("text", "body")
    with table.update_schema() as update:
        update.rename_column("title", "text")
    table.append(
        documents(6, title=[""] * 6)
        .rename_columns(["id", "body", "day", "text"])
        .append_column("summary", pa.array(["s"] * 6))
    )
    for column in ("text", "body", "summary"):
        assert rows(text_column=column) == expected(table, text=column)
    assert ("d0", "title 0") in rows(text_column="text")
    assert not set(ids(before)) & set(ids(units(text_column="text")))  # one name, other texts


def test_several_columns_and_one_inside_a_struct(catalog: Catalog) -> None:
    doc = pa.array([{"body": f"body {n}", "n": n} for n in range(3)])
    table = new_table(catalog, documents(0, 3, doc=doc))
    with table.update_schema() as update:
        update.rename_column("doc.body", "words")
        update.add_column("summary", StringType())
    before = [("d0", "body 0"), ("d1", "body 1"), ("d2", "body 2")]
    assert rows(text_column="doc.words") == before
    assert rows(text_column=("text", "summary", "doc.words")) == [(f"d{n}", f"text {n}\n\nbody {n}") for n in range(3)]
    with pytest.raises(CorpusError, match=r"has no column 'doc\.body' \(corpus\.text_column\)"):
        units(text_column="doc.body")


def test_carried_columns_go_by_the_table_s_names_too(catalog: Catalog) -> None:
    table = new_table(catalog, documents(0, 2, url=["u0", "u1"]))
    with table.update_schema() as update:
        update.add_column("lang", StringType())
    table.append(documents(2, 1, url=["u2"], lang=["en"]))
    settings = CorpusSettings(uris=(URI,), id_column="id", columns=("url", "lang"))
    assert carried(settings) == {"d0": ("u0", None), "d1": ("u1", None), "d2": ("u2", "en")}
    before = ids(units_carrying(settings))
    with table.update_schema() as update:
        update.rename_column("url", "link")
        update.rename_column("day", "url")
    assert carried(settings)["d0"] == (DAYS[0], None)
    assert not set(before) & set(ids(units_carrying(settings)))


def units_carrying(settings: CorpusSettings) -> list[Unit]:
    files = discover(STORAGE, settings).files
    return list(cut(STORAGE, files, settings, 16_000_000, map, carried_columns(STORAGE, files, settings)))


def carried(settings: CorpusSettings) -> dict[str, tuple[str | None, ...]]:
    rows = [row for unit in units_carrying(settings) for row in read(STORAGE, unit).to_pylist()]
    return {row["id"]: tuple(row[CARRIED].values()) for row in rows}


def test_a_file_without_ids_of_fields_goes_by_the_table_s_names_for_it(catalog: Catalog) -> None:
    table = new_table(catalog, documents(0, 2))
    path = f"{table.location()}/data/imported.parquet"
    pq.write_table(documents(10, 2), path.removeprefix("file://"))
    table.add_files([path])
    with table.update_schema() as update:
        update.rename_column("text", "body")
    assert rows(text_column="body") == expected(table, text="body")
    with table.transaction() as transaction:
        transaction.remove_properties("schema.name-mapping.default")
    (unreadable,) = [unit for unit in units(text_column="body") if unit.slice.unreadable]
    assert "name-mapping" in read(STORAGE, unreadable)["message"][0].as_py()


def test_identity_partitions_of_all_files_are_hive_keys(catalog: Catalog) -> None:
    table = catalog.create_table("ns.t", documents(0).schema)
    with table.update_spec() as update:
        update.add_field("day", IdentityTransform(), "day")
        update.add_field("id", TruncateTransform(1), "letter")
    paths = [f"{table.location()}/data/{day}.parquet" for day in DAYS]
    for day, path in zip(DAYS, paths, strict=True):
        put(Path(path.removeprefix("file://")))
        pq.write_table(documents(0).filter(pc.field("day") == day), path.removeprefix("file://"))
    table.add_files(paths)
    assert sorted(file.partitions for file in found(URI)) == [(("day", day),) for day in DAYS]
    assert rows() == expected(table)
    with table.update_spec() as update:
        update.remove_field("letter")
        update.add_field("text", IdentityTransform(), "text")
    table.append(documents(6, 2))
    assert {key for file in found(URI) for key, _ in file.partitions} == {"day"}  # the older files hold several texts
    assert rows() == expected(table)


def test_what_can_not_be_read_is_refused_with_the_reason(catalog: Catalog) -> None:
    table = new_table(catalog, documents(0))
    (file,) = data_files(table)
    for uri, error, message in [
        ("iceberg://lake/ns.none", CorpusError, "the catalog 'lake' has no table 'ns.none'"),
        ("iceberg://lake/none.t", CorpusError, "the catalog 'lake' has no table 'none.t'"),
        ("iceberg://lake/t", ConfigError, "expected iceberg://CATALOG/NAMESPACE.TABLE"),
        ("iceberg://other/ns.t", ConfigError, "no catalog 'other'.*PYICEBERG_CATALOG__OTHER__URI"),
        (f"{URI}@v9", CorpusError, "no branch, tag or snapshot 'v9'; its branches and tags are main"),
        (f"{URI}@123", CorpusError, "no branch, tag or snapshot '123'"),
    ]:
        with pytest.raises(error, match=message):
            units(uri)
    with pytest.raises(
        CorpusError, match=r"has no column 'Text' \(corpus.text_column\); it has id, text, day; 'text' is"
    ):
        units(text_column="Text")
    with pytest.raises(CorpusError, match=r"is a table of Iceberg, .*corpus\.format is csv"):
        units(format="csv")
    with pytest.raises(CorpusError, match=r"belongs to a table of Iceberg, .* name the table by its catalog"):
        units(table.location(), text_column="text")
    delete_rows(table, {file.file_path: [0]}, content=DataFileContent.EQUALITY_DELETES)
    with pytest.raises(CorpusError, match=r"equality deletes.*rewrite its data files"):
        units()
    assert rows(f"{URI}@{table.snapshots()[0].snapshot_id}") == expected(table, table.snapshots()[0].snapshot_id)
    catalog.create_table("ns.empty", documents(0).schema)
    with pytest.raises(CorpusError, match="has no snapshot yet"):
        units("iceberg://lake/ns.empty")


def test_a_file_that_was_expired_is_named_with_its_version(catalog: Catalog) -> None:
    table = new_table(catalog, documents(0))
    (file,) = data_files(table)
    Path(file.file_path.removeprefix("file://")).unlink()
    with pytest.raises(CorpusError, match=rf"^snapshot {newest(table)} of the Iceberg table {URI} names"):
        units()


def test_a_catalog_or_metadata_that_can_not_be_reached(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    table = new_table(catalog, documents(0))
    Path(table.metadata_location.removeprefix("file://")).unlink()
    with pytest.raises(CorpusError, match=rf"^{URI}: metadata of this Iceberg table is gone"):
        units()
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", "http://127.0.0.1:9")
    refresh_environment(monkeypatch)
    with pytest.raises(StorageError, match=rf"^{URI}: can't be reached .*refused"):
        units()
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", "sqlite:////nowhere/catalog.db")
    refresh_environment(monkeypatch)
    with pytest.raises(StorageError, match=rf"^{URI}: can't be reached .*unable to open"):
        units()
    monkeypatch.setitem(sys.modules, "pyiceberg", None)
    with pytest.raises(CorpusError, match=r"pip install 'rookery\[iceberg\]'"):
        units()
