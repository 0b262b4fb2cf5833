"""The files of one version of a Delta table, as its log tells them.

Only the log is copied, through our own storage, so that every store works with the credentials that the corpus has
anyway. The library replays the copy and writes what it comes to as a checkpoint, which is Parquet and says of each file
what the log said: its partition values, and where its deletion vector is. The data's folder is not listed.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.deleted_rows import DeltaVector
from pipeline.corpus.delta_log import copy_log
from pipeline.corpus.lake_file import LakeFile, TableColumn, TableVersion
from pipeline.errors import CorpusError
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage

# Of these a reader of `id` and `text` need know nothing, or what it must know is looked at below.
HARMLESS = {
    "columnMapping", "deletionVectors", "timestampNtz", "typeWidening", "typeWidening-preview", "v2Checkpoint",
    "vacuumProtocolCheck", "variantType", "variantType-preview", "variantShredding-preview",
}  # fmt: skip
ADD_FIELDS = ["add.path", "add.partitionValues", "add.size", "add.deletionVector"]
# a commit that changes nothing: without one the library writes no checkpoint where one of another kind is there
EMPTY_COMMIT = {"commitInfo": {"timestamp": 1, "inCommitTimestamp": 2**62, "operation": "CHECKPOINT"}}
PHYSICAL_NAME = "delta.columnMapping.physicalName"
ABSOLUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")


def read_delta(
    storage: Storage, folder: str, version: int | None, wanted: Iterable[str]
) -> tuple[TableVersion, list[CorpusFile], list[str]]:
    """A version of the table in a folder, or the newest; its files, and the names of its columns.

    `wanted` names the columns that the files are told to have.

    Raises:
        CorpusError: the library is missing, there is no such table or version, the log can't be read, or the table
        needs more than a reader knows.
    """
    root = storage.canonical(folder).rstrip("/")
    try:
        import deltalake
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise CorpusError(
            f"{root}: is a Delta table, and the library that reads its log is not installed; "
            "pip install 'rookery[delta]' (or deltalake)"
        ) from error
    with tempfile.TemporaryDirectory(prefix="rookery-delta-") as copy:
        at, log = copy_log(storage, root, version, Path(copy))
        (log / f"{at + 1:020}.json").write_text(json.dumps(EMPTY_COMMIT) + "\n")
        try:
            table = deltalake.DeltaTable(copy)
            _check_features(root, table)
            table.create_checkpoint()
        except DeltaError as error:
            reason = str(error).partition("\n")[0].replace(copy, root)
            raise CorpusError(
                f"{root}: the log of this Delta table can't be read ({reason}); repair the table, or export its "
                "current rows"
            ) from error
        fields = json.loads(table.schema().to_json())["fields"]
        columns = _columns(fields, table.metadata().configuration.get("delta.columnMapping.mode", "none"))
        read = TableVersion("Delta", root, str(at))
        lake = LakeFile(read, tuple(columns[name] for name in wanted if name in columns))
        keys = {columns[key].stored_names[0]: key for key in table.metadata().partition_columns}
        files = list(_files(storage, lake, keys, log / f"{at + 1:020}.checkpoint.parquet"))
    return read, files, [field["name"] for field in fields]


def _check_features(root: str, table: Any) -> None:
    features = set(table.protocol().reader_features or [])
    if unknown := sorted(features - HARMLESS):
        raise CorpusError(
            f"{root}: this Delta table needs a reader that knows {', '.join(unknown)}; export its current rows"
        )


def _columns(fields: Iterable[dict[str, Any]], mode: str) -> dict[str, TableColumn]:
    """Every column by its name, also those inside structs; `mode` is the table's mapping of columns."""
    columns: dict[str, TableColumn] = {}
    for name, stored_name, field in _paths(fields, mapped=mode != "none"):
        field_id = int(field["metadata"]["delta.columnMapping.id"]) if mode == "id" else None
        columns.setdefault(name, TableColumn(name, field_id, (stored_name,)))
    return columns


def _paths(
    fields: Iterable[dict[str, Any]], *, mapped: bool, above: tuple[str, str] = ("", "")
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    inside = []
    for field in fields:
        name = above[0] + field["name"]
        stored_name = above[1] + (field["metadata"][PHYSICAL_NAME] if mapped else field["name"])
        yield name, stored_name, field
        if isinstance(field["type"], dict) and field["type"]["type"] == "struct":
            inside.append((field["type"]["fields"], (f"{name}.", f"{stored_name}.")))
    for some, names in inside:
        yield from _paths(some, mapped=mapped, above=names)


def _files(storage: Storage, lake: LakeFile, keys: Mapping[str, str], checkpoint: Path) -> Iterator[CorpusFile]:
    """`keys`: the table's partition columns by their names in the log."""
    root, seen = lake.table.uri, set()
    for batch in pq.ParquetFile(checkpoint).iter_batches(columns=ADD_FIELDS):
        for add in batch.column("add").to_pylist():
            if add is None or add["path"] is None:
                continue
            path = unquote(add["path"])
            uri = storage.canonical(path) if ABSOLUTE.match(path) or path.startswith("/") else f"{root}/{path}"
            if uri in seen:
                raise CorpusError(f"{uri}: the log of the Delta table {root} has this file twice; repair the table")
            seen.add(uri)
            values = dict(add["partitionValues"] or ())
            partitions = tuple((key, values.get(stored) or None) for stored, key in keys.items())  # "" is null in a log
            vector = add.get("deletionVector")
            deletes = (DeltaVector.of_log(root, vector),) if vector else ()
            file_lake = LakeFile(lake.table, lake.columns, deletes) if deletes else lake
            yield CorpusFile(StoredFile(uri, add["size"], ""), "parquet", None, partitions, file_lake)
