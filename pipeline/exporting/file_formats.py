"""An export's bytes in each format, written a table of rows at a time.

In Parquet each table is a row group and in Arrow a batch; in CSV and JSON Lines it makes no difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Protocol, get_args

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.exporting.cells import csv_cells, json_lines

ExportFormat = Literal["csv", "jsonl", "arrow", "parquet"]
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
TEXT_FORMATS = ("csv", "jsonl")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # without it some spreadsheets take UTF-8 for a code page


@dataclass(frozen=True, slots=True)
class FileForm:
    """What a file of an export is like. `stream`: Arrow's stream, which a pipe can be, and not its file."""

    format: ExportFormat
    compression: str | None = None
    formulas: bool = False
    bom: bool = False
    stream: bool = False


class RowWriter(Protocol):
    """Writes tables of one schema into a file, which it doesn't close."""

    def write(self, rows: pa.Table, /) -> None: ...

    def close(self) -> None: ...


def form_of(target: str, named: ExportFormat | None, *, formulas: bool, bom: bool) -> FileForm:
    """Gives the form for a target, by the format named or the target's ending, and its compression by that.

    Raises ConfigError for what can't be.
    """
    compression = next((name for ending, name in _COMPRESSIONS.items() if target.endswith(ending)), None)
    stem = target.rpartition(".")[0] if compression else target
    ending = stem.rpartition(".")[2]
    format_: Any = named or ending
    if format_ not in get_args(ExportFormat):
        raise ConfigError(
            f"{target}: its ending names no format; expected --format {', '.join(get_args(ExportFormat))}, or such an "
            "ending"
        )
    if compression and format_ not in TEXT_FORMATS:
        raise ConfigError(f"{target}: {format_} is compressed inside its file, if at all; leave the last ending away")
    if (bom or formulas) and format_ != "csv":
        raise ConfigError(f"{'--bom' if bom else '--allow-formulas'}: is for csv alone, and this is {format_}")
    return FileForm(format_, compression, formulas, bom, stream=target == "-")


def open_writer(form: FileForm, file: BinaryIO, first: pa.Table, connection: duckdb.DuckDBPyConnection) -> RowWriter:
    """Begins a file of rows like `first`, which are not written yet. `connection` turns them into text."""
    if form.format == "parquet":
        return _Parquet(file, first.schema)
    if form.format == "arrow":
        return _Arrow(file, first.schema, stream=form.stream)
    if form.bom:
        file.write(BYTE_ORDER_MARK)
    if form.format == "jsonl":
        return _Text(file, lambda rows: json_lines(connection, rows))
    return _Csv(file, lambda rows: csv_cells(connection, rows, formulas=form.formulas), first)


class _Parquet:
    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd", compression_level=3, store_schema=False)
        self._writer.add_key_value_metadata(schema.metadata or {})  # which is left out with the schema

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows, row_group_size=max(1, len(rows)))

    def close(self) -> None:
        self._writer.close()


class _Arrow:
    def __init__(self, file: BinaryIO, schema: pa.Schema, *, stream: bool) -> None:
        self._writer = pa.ipc.new_stream(file, schema) if stream else pa.ipc.new_file(file, schema)

    def write(self, rows: pa.Table) -> None:
        for batch in rows.combine_chunks().to_batches():
            self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _Csv:
    def __init__(self, file: BinaryIO, cells: Callable[[pa.Table], pa.Table], first: pa.Table) -> None:
        self._cells = cells
        self._writer = pa_csv.CSVWriter(file, cells(first.slice(0, 0)).schema)

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(self._cells(rows))

    def close(self) -> None:
        self._writer.close()


class _Text:
    def __init__(self, file: BinaryIO, lines: Callable[[pa.Table], bytes]) -> None:
        self._file, self._lines = file, lines

    def write(self, rows: pa.Table) -> None:
        if len(rows):
            self._file.write(self._lines(rows))

    def close(self) -> None:
        pass
