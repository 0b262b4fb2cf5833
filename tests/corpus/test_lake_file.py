"""Columns of a Delta table that its files call otherwise, or lack; Iceberg's are in test_iceberg.py."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.corpus.lake_file import LakeFile, TableColumn, TableVersion
from tests.corpus.delta_tables import pairs
from tests.corpus.lakes import documents, rows_of, units_of

TABLE = TableVersion("Delta", "s3://b/t", "3")


def column(name: str, stored_name: str, number: int, type_: Any = "string") -> dict[str, Any]:
    metadata = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": stored_name}
    return {"name": name, "type": type_, "nullable": True, "metadata": metadata}


def write_mapped(folder: Path, mode: str, names: dict[str, str], number: int, day: str) -> None:
    """A commit of a table whose columns have these names; the files' are `col-1` …, or others by the ids."""
    columns = [column(name, stored, at) for at, (name, stored) in enumerate(names.items(), 1)]
    meta = {
        "id": "x", "format": {"provider": "parquet", "options": {}}, "partitionColumns": ["day"], "createdTime": 1,
        "configuration": {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "9"},
        "schemaString": json.dumps({"type": "struct", "fields": columns}),
    }  # fmt: skip
    features = ["columnMapping"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    stored = [f"col-{at}" if mode == "name" else f"other-{at}" for at in (1, 2)]
    fields = [pa.field(name, pa.string(), metadata={"PARQUET:field_id": str(at)}) for at, name in enumerate(stored, 1)]
    folder.joinpath("_delta_log").mkdir(parents=True, exist_ok=True)
    data = documents([number]).columns
    pq.write_table(pa.table(data, pa.schema(fields)), folder / f"{number}.parquet")
    size = (folder / f"{number}.parquet").stat().st_size
    add = {
        "path": f"{number}.parquet",
        "partitionValues": {"col-3": day},
        "size": size,
        "modificationTime": 1,
        "dataChange": True,
    }
    actions = [*([{"protocol": protocol}] if not number else []), {"metaData": meta}, {"add": add}]
    commit = "".join(json.dumps(action) + "\n" for action in actions)
    (folder / "_delta_log" / f"{number:020}.json").write_text(commit)


@pytest.mark.parametrize("mode", ["name", "id"])
def test_columns_that_were_renamed_are_read_under_their_new_names(tmp_path: Path, mode: str) -> None:
    names = {"id": "col-1", "text": "col-2", "day": "col-3"}
    write_mapped(tmp_path, mode, names, 0, "monday")
    before = units_of(tmp_path)
    assert [unit.file.partitions for unit in before] == [(("day", "monday"),)]
    write_mapped(tmp_path, mode, {"id": "col-1", "body": "col-2", "day": "col-3"}, 1, "friday")
    assert rows_of(tmp_path, text_column="body") == [(f"d{n}", f"text {n} 0") for n in range(2)]
    write_mapped(tmp_path, mode, {"text": "col-1", "id": "col-2", "day": "col-3"}, 2, "friday")  # swapped
    assert rows_of(tmp_path) == [(f"text {n} 0", f"d{n}") for n in range(3)]
    if mode == "name":  # the library looks for the names in the log in either
        assert rows_of(tmp_path) == pairs(DeltaTable(tmp_path))
    assert not {unit.id("") for unit in before} & {unit.id("") for unit in units_of(tmp_path)}


def test_a_column_that_older_files_lack_is_null_there(tmp_path: Path) -> None:
    write_deltalake(tmp_path, documents([0, 1]))
    before = {unit.id("") for unit in units_of(tmp_path)}
    newer = documents([2]).append_column("body", pa.array(["new"]))
    write_deltalake(tmp_path, newer, mode="append", schema_mode="merge")
    assert rows_of(tmp_path, text_column="body") == pairs(DeltaTable(tmp_path), "body")
    assert rows_of(tmp_path, text_column="body")[0] == ("d0", None)
    assert before < {unit.id("") for unit in units_of(tmp_path)}  # a new column is nothing to the others


@pytest.mark.parametrize(
    ("fields", "renamed"),
    [
        ([("doc", [("body", 5)])], ()),
        ([("doc", [("old", 5)])], (("doc.body", "doc.old"),)),
        ([("paper", [("body", 4), ("other", 5)])], (("doc.body", "paper.other"),)),
        ([("doc", [("body", 6)])], (("doc.body", None),)),
        ([("doc", [("body", None)])], ()),
        ([("doc", [("other", None)])], (("doc.body", None),)),
    ],
    ids=["as it is", "renamed", "its struct too", "another of its name", "no ids", "neither"],
)
def test_a_column_inside_a_struct(fields: list[Any], renamed: tuple[tuple[str, str | None], ...]) -> None:
    schema = pa.schema([pa.field(name, pa.struct([_field(*one) for one in inside])) for name, inside in fields])
    lake = LakeFile(TABLE, (TableColumn("doc.body", 5, ("doc.body",)),))
    assert lake.with_names_of(schema).renamed == renamed


def _field(name: str, field_id: int | None) -> pa.Field:
    return pa.field(name, pa.string(), metadata={"PARQUET:field_id": str(field_id)} if field_id else None)
