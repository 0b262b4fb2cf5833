"""A Delta table as a lake.

The log is read by deltalake, from a copy that our own storage makes, so that every store works with the credentials
that the table has anyway. A commit is one object, put if absent under the next version's number, as Delta's protocol
says: written here, because deltalake can replace all files of a table or those of a partition, but not the very files
that changed, and would name files again that it has just removed.
"""

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from pipeline.config.lakes import DeltaSettings
from pipeline.errors import ConfigError, ConflictError, StorageError
from pipeline.lakes.lake_commit import lake_file_uri
from pipeline.lakes.lake_files import PREFIX, CommitIds, LakeChange, LakeVersion, unsigned_column
from pipeline.storage.objects import Storage
from pipeline.tables.repeatable_parquet import read_parquet

COMMIT_FILE = re.compile(r"(\d{20})\.json")
CHECKPOINT_FILE = re.compile(r"(\d{20})\.checkpoint(?:\..+)?\.parquet")
CHECKPOINT_EACH = 10  # versions, as every writer of Delta does
PROTOCOL = {"minReaderVersion": 1, "minWriterVersion": 2}
NEEDS_FEATURES = re.compile(r'"(timestamp_ntz|timestamp_nanos\w*|void|variant)"')
FORBIDDEN = re.compile(r"[ ,;{}()\n\t=]")  # in a column's name


@dataclass(frozen=True, slots=True)
class _Opened:
    version: int
    schema: pa.Schema
    schema_string: str
    metadata: dict[str, Any]  # the action
    partition_by: list[str]


@dataclass(frozen=True, slots=True)
class DeltaLake:
    """One Delta table."""

    settings: DeltaSettings
    storage: Storage
    keeps_partitions: bool = True

    @property
    def name(self) -> str:
        return f"Delta table {self.settings.uri}"

    def record(self) -> dict[str, Any]:
        return {"delta": self.settings.model_copy(update={"uri": self._location}).model_dump(mode="json")}

    def load(self) -> LakeVersion | None:
        with self._copied_log() as table:
            if table is None:
                return None
            opened = self._opened(table)
            configuration = opened.metadata["configuration"]
            adds = pa.table(table.get_add_actions())
            counts = adds["num_records"].to_pylist() if "num_records" in adds.column_names else [None] * len(adds)
            rows = [-1 if count is None else count for count in counts]
            files = {self._path(path): count for path, count in zip(adds["path"].to_pylist(), rows, strict=True)}
            owner = configuration.get(PREFIX + "table")
            return LakeVersion(self._location, files, CommitIds.read(configuration), owner, opened)

    def create(self, schema: pa.Schema, partition_by: list[str], table_uri: str) -> None:
        metadata = {
            "id": str(uuid4()),
            "format": {"provider": "parquet", "options": {}},
            "schemaString": self._schema_string(schema),
            "partitionColumns": partition_by,
            "configuration": {PREFIX + "table": table_uri},
            "createdTime": _now(),
        }
        self._put(0, [{"protocol": PROTOCOL}, {"metaData": metadata}, _commit_info("CREATE TABLE", None)])

    def commit(self, version: LakeVersion, change: LakeChange, ids: CommitIds, schema: pa.Schema | None) -> None:
        opened: _Opened = version.handle
        keys = sorted(next(iter(change.added.values())).partition) if change.added else sorted(opened.partition_by)
        if keys != sorted(opened.partition_by):
            raise ConfigError(
                f"{self.name}: is partitioned by {opened.partition_by}, the table by {keys} now; name another"
            )
        metadata = opened.metadata | {
            "schemaString": opened.schema_string if schema is None else self._evolved(opened, schema),
            "configuration": opened.metadata["configuration"] | ids.properties(),
        }
        removed = [
            {"path": self._relative(path), "deletionTimestamp": _now(), "dataChange": True}
            for path in sorted(change.removed)
        ]
        added = [
            {
                "path": self._relative(path),
                "partitionValues": {key: value or None for key, value in file.partition.items()},
                "size": file.bytes,
                "modificationTime": _now(),
                "dataChange": True,
                "stats": json.dumps({"numRecords": file.rows}),
            }
            for path, file in sorted(change.added.items())
        ]
        info = _commit_info("WRITE", ids)
        actions = [info, {"metaData": metadata}, *({"remove": file} for file in removed), *({"add": f} for f in added)]
        self._put(opened.version + 1, actions)
        if (opened.version + 1) % CHECKPOINT_EACH == 0:
            self._checkpoint()

    def named(self) -> set[str]:
        paths: set[str] = set()
        for file in self._log():
            name = file.rpartition("/")[2]
            if COMMIT_FILE.fullmatch(name):
                actions = map(json.loads, self.storage.read(file).decode().splitlines())
                paths |= {action["add"]["path"] for action in actions if "add" in action}
            elif CHECKPOINT_FILE.fullmatch(name):
                added = read_parquet(self.storage.read(file), ["add.path"])["add"]
                paths |= {add["path"] for add in added.to_pylist() if add and add["path"]}
        return {lake_file_uri(self.storage, self._location, path) for path in paths}

    @property
    def _location(self) -> str:
        return self.storage.canonical(self.settings.uri).rstrip("/")

    def _path(self, path: str) -> str:
        return path if "://" in path else f"{self._location}/{path}"

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self._location}/")

    def _log(self) -> list[str]:
        return [file.uri for file in self.storage.find(f"{self._location}/_delta_log")]

    @contextlib.contextmanager
    def _copied_log(self) -> Iterator[Any]:
        """Opens the table by a copy of its log, from the newest checkpoint on; None where there is no log."""
        try:
            from deltalake import DeltaTable
            from deltalake.exceptions import DeltaError
        except ImportError as error:
            raise ConfigError(
                f"publish.delta: the library for it is missing ({error}); pip install 'rookery[delta]'"
            ) from error
        with tempfile.TemporaryDirectory(prefix="rookery-delta-") as folder:
            if not self._copy_log(Path(folder) / "_delta_log"):
                yield None
                return
            try:
                yield DeltaTable(folder)
            except DeltaError as error:
                reason = str(error).partition("\n")[0].replace(folder, self._location)
                raise ConfigError(f"{self.name}: its log can't be read ({reason}); name another Delta table") from error

    def _copy_log(self, folder: Path) -> bool:
        uris = {uri.rpartition("/")[2]: uri for uri in self._log()}
        first = 0
        if hint := uris.get("_last_checkpoint"):
            first = int(json.loads(self.storage.read(hint))["version"])
        numbered = {
            name: match for name in uris if (match := COMMIT_FILE.fullmatch(name) or CHECKPOINT_FILE.fullmatch(name))
        }
        wanted = [name for name, match in numbered.items() if int(match[1]) >= first]
        if hint:
            wanted.append("_last_checkpoint")
        folder.mkdir()
        try:
            read = self.storage.read_all([uris[name] for name in wanted])
        except FileNotFoundError as error:  # cleaned up meanwhile
            raise ConflictError(f"{self.name}: its log changed while it was read ({error})") from error
        for name, data in zip(wanted, read, strict=True):
            (folder / name).write_bytes(data)
        return bool(numbered)

    def _opened(self, table: Any) -> _Opened:
        protocol, metadata = table.protocol(), table.metadata()
        if protocol.min_reader_version > 1 or protocol.min_writer_version > 2:
            raise ConfigError(
                f"{self.name}: somebody gave it features that Rookery does not write (reader version "
                f"{protocol.min_reader_version}, writer version {protocol.min_writer_version}); name another table"
            )
        schema = table.schema()
        action = {
            "id": metadata.id,
            "name": metadata.name,
            "description": metadata.description,
            "format": {"provider": "parquet", "options": {}},
            "partitionColumns": metadata.partition_columns,
            "configuration": metadata.configuration,
            "createdTime": metadata.created_time,
        }
        action = {key: value for key, value in action.items() if value is not None}
        return _Opened(
            table.version(), pa.schema(schema.to_arrow()), schema.to_json(), action, metadata.partition_columns
        )

    def _schema_string(self, schema: pa.Schema) -> str:
        from deltalake import Schema

        if wrong := [name for name in schema.names if FORBIDDEN.search(name)]:
            raise ConfigError(f"{self.name}: Delta can't have a column called {wrong[0]!r}; leave it out, or rename it")
        try:
            if name := unsigned_column(schema):
                raise TypeError(f"{name} is unsigned")
            text = str(Schema.from_arrow(schema).to_json())
        except Exception as error:  # it raises nothing more special, with a trace of its own stack
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"{self.name}: can't have the table's columns: {reason}; leave that column out"
            ) from error
        if wrong_type := NEEDS_FEATURES.search(text):
            raise ConfigError(
                f"{self.name}: a column of type {wrong_type[1]} needs features of Delta that few engines read; leave "
                "it out, or give the corpus times in UTC"
            )
        return text

    def _evolved(self, opened: _Opened, schema: pa.Schema) -> str:
        """The table's schema, with columns that are new; partitions' keys stay where they are."""
        from deltalake import Schema

        typed = pa.schema(Schema.from_json(self._schema_string(schema)).to_arrow())
        there = set(opened.schema.names)
        for field in typed:
            if field.name in there and field.type != (before := opened.schema.field(field.name).type):
                raise ConfigError(
                    f"{self.name}: its column {field.name} is {before}, the table's {field.type} now; name another "
                    "Delta table"
                )
        new = [field for field in typed if field.name not in there]
        if not new:
            return opened.schema_string
        return self._schema_string(pa.schema([*opened.schema, *new]))

    def _put(self, version: int, actions: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(action, ensure_ascii=False) + "\n" for action in actions)
        uri = f"{self._location}/_delta_log/{version:020d}.json"
        if not self.storage.put_if_absent(uri, lines.encode()):
            raise ConflictError(f"{self.name}: another commit was first, version {version}")

    def _checkpoint(self) -> None:
        """Sums up the log, so that a reader needs only what came after; without it, it needs all."""
        with tempfile.TemporaryDirectory(prefix="rookery-delta-") as folder, contextlib.suppress(StorageError):
            from deltalake import DeltaTable

            log = Path(folder) / "_delta_log"
            self._copy_log(log)
            DeltaTable(folder).create_checkpoint()
            # the hint last, or it names what isn't there
            for path in (*sorted(log.glob("*.checkpoint*.parquet")), log / "_last_checkpoint"):
                self.storage.put(f"{self._location}/_delta_log/{path.name}", path.read_bytes())


def _commit_info(operation: str, ids: CommitIds | None) -> dict[str, Any]:
    properties = ids.properties() if ids else {}
    return {"commitInfo": {"timestamp": _now(), "operation": operation, "engineInfo": "rookery"} | properties}


def _now() -> int:
    return int(time.time() * 1000)
