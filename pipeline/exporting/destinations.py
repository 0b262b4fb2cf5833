"""Where an export goes, whole or not at all.

One object appears when it is complete. A folder's parts appear one after the other, and the folder is an export only
when `_export.json` lies in it, which is put last and lists them: a folder without it is what a run left that was ended,
and the next one removes its parts.
"""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast

import duckdb
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.exporting.file_formats import FileForm, open_writer
from pipeline.storage.objects import Storage

MARKER = "_export.json"
_PART = re.compile(r"part-\d{5,}\.(csv|jsonl|arrow|parquet)")


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export, by its name in the folder or its URI; `sha256` of its bytes."""

    name: str
    rows: int
    bytes: int
    sha256: str


class MeasuredFile(io.RawIOBase):
    """Passes on what is written, and knows how much that was and its digest; closing it leaves the file open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.size = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._digest.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def write_file(
    file: BinaryIO, name: str, form: FileForm, tables: Iterable[pa.Table], connection: duckdb.DuckDBPyConnection
) -> ExportedFile:
    """Writes tables, of which there is one at least, into an open file."""
    measured, rows = MeasuredFile(file), 0
    with _compressed(measured, form) as sink:
        writer = None
        for table in tables:
            writer = writer or open_writer(form, sink, table, connection)
            writer.write(table)
            rows += len(table)
        assert writer is not None, "an export without rows is one table without rows"
        writer.close()
    return ExportedFile(name, rows, measured.size, measured.sha256)


@contextlib.contextmanager
def _compressed(measured: MeasuredFile, form: FileForm) -> Iterator[BinaryIO]:
    if not form.compression:
        yield cast(BinaryIO, measured)
        return
    with pa.CompressedOutputStream(measured, form.compression) as stream:
        yield stream


def check_target(storage: Storage, uri: str, *, overwrite: bool) -> None:
    """Raises ConfigError where an export may not or can't go; AccessError, StorageError."""
    is_folder = uri.endswith("/")
    there = {file.uri.rpartition("/")[2] for file in storage.files_in(uri)} if is_folder else set()
    if others := sorted(name for name in there if not (name == MARKER or _PART.fullmatch(name) or _is_hidden(name))):
        raise ConfigError(f"{uri}: holds {others[0]!r}, which is no export's; name an empty folder, or a new one")
    if not overwrite and (MARKER in there if is_folder else storage.stat(uri)):
        raise ConfigError(f"{uri}: is there already; give --overwrite to replace it, or name another place")
    storage.check_writable(uri.rpartition("/")[0] if "/" in uri else ".", uri)


def write_parts(
    storage: Storage,
    folder: str,
    form: FileForm,
    parts: Iterable[Iterable[pa.Table]],
    facts: dict[str, Any],
    connection: duckdb.DuckDBPyConnection,
) -> list[ExportedFile]:
    """Writes a file for each part into a folder, in the place of what an export has left there; `facts` go into MARKER.

    The old marker goes first: from then on the folder is no export until the new one is complete.
    """
    names = [file.uri.rpartition("/")[2] for file in storage.files_in(folder)]
    for name in sorted((name for name in names if name == MARKER or _PART.fullmatch(name)), key=MARKER.__ne__):
        storage.delete(folder + name)
    written = []
    for number, tables in enumerate(parts):
        name = f"part-{number:05d}.{form.format}"
        with storage.writing(folder + name) as file:
            written.append(write_file(file, name, form, tables, connection))
    marker = facts | {"rows": sum(file.rows for file in written), "files": [asdict(file) for file in written]}
    storage.put(folder + MARKER, json.dumps(marker, indent=1, ensure_ascii=False).encode() + b"\n")
    return written


def _is_hidden(name: str) -> bool:
    return name.startswith(".rookery-")  # of a write that was ended, or is under way
