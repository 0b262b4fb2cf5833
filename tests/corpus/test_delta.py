"""Delta tables, written by the library and by hand, against what the library itself reads of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.config.corpus import CorpusSettings
from pipeline.config.label import StorageSettings
from pipeline.corpus.files import discover
from pipeline.corpus.lake_file import TableVersion
from pipeline.corpus.units import cut
from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage
from tests.corpus.files import STORAGE, put, read
from tests.s3 import S3Server

DAYS = ["2024-01-01", "a/b c%41é", None]


def documents(first: int, count: int = 6) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": [f"d{n}" for n in numbers],
            "text": [f"text {n}" for n in numbers],
            "day": [DAYS[n % 3] for n in numbers],
            "n": pa.array([n % 2 for n in numbers], pa.int32()),
        }
    )


def grown(path: Path, **options: Any) -> DeltaTable:
    """Appended to, deleted from, updated and overwritten in part."""
    write_deltalake(path, documents(0), **options)
    write_deltalake(path, documents(6), mode="append")
    table = DeltaTable(path)
    table.delete("id = 'd3'")
    table.update(predicate="id = 'd7'", updates={"text": "'new text of d7'"})
    return table


def rows(storage: Storage, uri: object) -> list[tuple[Any, ...]]:
    """Id, text and hive values of each document, as a job reads them."""
    settings = CorpusSettings(uris=(str(uri),), id_column="id")
    units = cut(storage, discover(storage, settings).files, settings, 1000)
    return sorted(
        (row["id"], row["text"], *(value for _, value in sorted(unit.file.partitions)))
        for unit in units
        for row in read(storage, unit).to_pylist()
    )


def expected(table: DeltaTable, *keys: str) -> list[tuple[Any, ...]]:
    found = table.to_pyarrow_table().to_pylist()
    return sorted(
        (row["id"], row["text"], *(None if row[key] is None else str(row[key]) for key in sorted(keys)))
        for row in found
    )  # fmt: skip


@pytest.mark.parametrize("keys", [[], ["day"], ["n", "day"]], ids=["plain", "one key", "two keys"])
def test_a_delta_table_is_read_at_its_current_version(tmp_path: Path, keys: list[str]) -> None:
    table = grown(tmp_path / "t", partition_by=keys)
    assert rows(STORAGE, tmp_path / "t") == expected(DeltaTable(tmp_path / "t"), *keys)
    assert len(rows(STORAGE, tmp_path / "t")) == 11
    found = discover(STORAGE, CorpusSettings(uris=(f"{tmp_path}/t/",)))
    assert found.tables == (TableVersion("Delta", f"file://{tmp_path}/t", str(table.version())),)


def test_from_a_checkpoint_on(tmp_path: Path) -> None:
    table = grown(tmp_path / "t", partition_by=["day"])
    table.create_checkpoint()
    for commit in sorted((tmp_path / "t/_delta_log").glob("*.json"))[:-1]:
        commit.unlink()  # as a log's retention does
    write_deltalake(tmp_path / "t", documents(12), mode="append")
    assert rows(STORAGE, tmp_path / "t") == expected(DeltaTable(tmp_path / "t"), "day")
    assert len(rows(STORAGE, tmp_path / "t")) == 17


@pytest.mark.s3
def test_on_s3(s3: S3Server, tmp_path: Path) -> None:
    table = grown(tmp_path / "t", partition_by=["day"])
    bucket = s3.new_bucket()
    s3.filesystem().put(f"{tmp_path}/t", f"{bucket}/lake/t", recursive=True)
    storage = Storage(StorageSettings(endpoint_url=s3.endpoint))
    assert rows(storage, f"s3a://{bucket}/lake/t") == expected(table, "day")


FIELD = {"type": "string", "nullable": True, "metadata": {}}
PLAIN = {"minReaderVersion": 1, "minWriterVersion": 2}
VECTOR = {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40, "cardinality": 6}  # fmt: skip


def reader(*features: str) -> dict[str, Any]:
    return {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}  # fmt: skip


def write_log(
    folder: Path,
    protocol: dict[str, Any] = PLAIN,
    path: str = "a.parquet",
    version: int = 0,
    configuration: dict[str, str] | None = None,
    columns: dict[str, Any] | None = None,
    **add: Any,
) -> None:
    fields = [{"name": "text", **FIELD, **(columns or {})}]
    meta = {
        "id": "x", "format": {"provider": "parquet", "options": {}}, "partitionColumns": [],
        "configuration": configuration or {}, "schemaString": json.dumps({"type": "struct", "fields": fields}),
    }  # fmt: skip
    added = {"path": path, "partitionValues": {}, "size": 1, "modificationTime": 0, "dataChange": True} | add  # fmt: skip
    actions = [{"protocol": protocol}, {"metaData": meta}, {"add": added}]
    lines = "".join(json.dumps(action) + "\n" for action in actions)
    put(folder / "_delta_log" / f"{version:020}.json", lines)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ({"protocol": reader("deletionVectors"), "deletionVector": VECTOR}, r"/t/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61\.bin is gone"),
        ({"protocol": reader("deletionVectors"), "deletionVector": VECTOR | {"storageType": "x"}}, "deletion vector of kind 'x'"),
        ({"protocol": reader("quantumRows")}, "quantumRows"),
        ({"protocol": PLAIN | {"minReaderVersion": 9}}, r"log of this Delta table can't be read \(.*; repair"),
        ({"path": "gone.parquet"}, r"^version 0 of the Delta table .*/t names .*/t/gone\.parquet, .* is gone"),
        ({"path": "a.parquet"}, r"^version 0 of the Delta table .*/t names .*/t/a\.parquet, .* was replaced"),
        ({"path": "file:///elsewhere/a%20b.parquet"}, r"names file:///elsewhere/a b\.parquet, .* is gone"),
        ({"version": 3}, r"lacks what version 3 needs \(commit 0,"),
    ],
    ids=["no deletion vector", "another kind of them", "feature", "version", "vacuumed", "replaced", "clone", "beginning"],
)  # fmt: skip
def test_what_a_table_s_files_alone_do_not_tell_is_refused(tmp_path: Path, log: dict[str, Any], message: str) -> None:
    put(tmp_path / "t/a.parquet")
    write_log(tmp_path / "t", **log)
    settings = CorpusSettings(uris=(f"{tmp_path}/t",))
    with pytest.raises(CorpusError, match=message) as said:
        cut(STORAGE, discover(STORAGE, settings).files, settings, 1000)
    assert f"{tmp_path}/t" in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "log", [{}, {"protocol": reader("deletionVectors")}, {"protocol": reader("v2Checkpoint", "timestampNtz")}],
    ids=["plain", "no row deleted", "harmless"],
)  # fmt: skip
def test_features_that_no_live_file_uses_are_no_hindrance(tmp_path: Path, log: dict[str, Any]) -> None:
    put(tmp_path / "t/a b.parquet")
    put(tmp_path / "t/old.parquet")
    write_log(tmp_path / "t", path="a%20b.parquet", **log)
    found = discover(STORAGE, CorpusSettings(uris=(f"{tmp_path}/t",), format="parquet"))
    assert [file.uri for file in found.files] == [f"file://{tmp_path}/t/a b.parquet"]


@pytest.mark.parametrize("log", ["{broken", "", '{"add": 1}\n'])
def test_a_log_that_is_damaged_is_refused(tmp_path: Path, log: str) -> None:
    put(tmp_path / "t/_delta_log/00000000000000000000.json", log)
    with pytest.raises(CorpusError, match="log of this Delta table can't be read") as said:
        discover(STORAGE, CorpusSettings(uris=(f"{tmp_path}/t",)))
    assert "\n" not in str(said.value)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    grown(tmp_path / "t").delete()
    with pytest.raises(CorpusError, match=r"version 4 of the Delta table .*/t is empty"):
        discover(STORAGE, CorpusSettings(uris=(f"{tmp_path}/t",)))


def test_another_format_than_its_own(tmp_path: Path) -> None:
    grown(tmp_path / "t")
    with pytest.raises(CorpusError, match=r"table of Delta, which holds Parquet; corpus\.format is csv"):
        discover(STORAGE, CorpusSettings(uris=(f"{tmp_path}/t",), format="csv"))


def test_a_table_in_two_systems_is_read_as_delta(tmp_path: Path) -> None:
    """As UniForm and XTable write it: Iceberg's metadata over the same files."""
    table = grown(tmp_path / "t")
    put(tmp_path / "t/metadata/00001-0b6f1c52-9d6c.metadata.json")
    assert rows(STORAGE, tmp_path / "t") == expected(table)


MISSING = """
import sys
sys.modules["deltalake"] = None
from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.files import discover
from pipeline.storage.objects import Storage
discover(Storage(), CorpusSettings(uris=(sys.argv[1],)))
"""


def test_without_the_library_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    write_log(tmp_path / "t")
    command = [sys.executable, "-c", MISSING, str(tmp_path / "t")]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert "CorpusError" in said
    assert "is a Delta table" in said
    assert "pip install 'rookery[delta]'" in said


def test_a_copy_of_a_table_is_read_as_the_table(tmp_path: Path) -> None:
    table = grown(tmp_path / "t", partition_by=["day"])
    shutil.copytree(tmp_path / "t", tmp_path / "copy")
    assert rows(STORAGE, tmp_path / "copy") == expected(table, "day")
