"""A unit -> its DOCUMENTS. One reader per format; what can't be read leaves as a row with a reason.

What a damaged file still gives is read. The rest leaves as one row for each document of it, or as one for all where
nobody can tell how many they are. A document above the unit's `max_document_bytes` leaves too, without being held.

A document's position is its row in the file, or its line's first byte in plain JSON Lines, where rows can't be counted
without reading what lies before. Without an id column the id is `<file URI>#<position>`.
"""

import codecs
import csv
import gzip
import io
import itertools
import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus.files import damage_explained
from pipeline.corpus.parts import Row, numbered
from pipeline.corpus.units import Bytes, Part, RowGroups, Rows, Unit, Unreadable
from pipeline.errors import CorpusError, StorageError
from pipeline.schema import DOCUMENTS
from pipeline.storage import Storage

BUFFER = 2**20
STORED_BYTES = 2**24  # of a large Parquet row group's column, fetched at a time
BATCH_ROWS, DECODED_BYTES = 1024, 2**24  # of Parquet, decoded at a time, at most
DAMAGED = "damaged_file"
FIRST_RECORDS = 20  # of a file, which tell whether its columns are those that the job names
NAMES_SHOWN, NAME_LENGTH = 20, 40
STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def read(storage: Storage, unit: Unit) -> pa.Table:
    """All documents of a unit. Raises what `rows` and `table` raise."""
    return table(storage, unit, list(rows(storage, unit)))


def table(storage: Storage, unit: Unit, found: list[Row]) -> pa.Table:
    """What was found in a unit, as DOCUMENTS.

    Damage is believed when it is seen twice: a row of it stays in the table for as long as the file does. StorageError
    otherwise.
    """
    if (damaged := _damaged(found)) and _damaged(rows(storage, unit)) != damaged:
        raise StorageError(
            f"{unit.file.uri}: damaged when read once, and not or elsewhere when read again; run again"
        )
    return pa.Table.from_pylist(found, schema=DOCUMENTS)


def _damaged(found: Iterable[Row]) -> list[Row]:
    return [row for row in found if row.get("reason") == DAMAGED]


def rows(storage: Storage, unit: Unit) -> Generator[Row]:
    """All documents of a unit, one at a time; SourceChangedError where the file is no longer the one that was planned."""
    if isinstance(unit.slice, Unreadable):
        reader = _unreadable_rows
    else:
        reader = _parquet if unit.file.format == "parquet" else _streamed
    with storage.open(unit.file.stored) as file, closing(reader(file, unit)) as found:
        yield from itertools.islice(_of_part(found, unit), unit.limit)


def _of_part(found: Iterator[Row], unit: Unit) -> Iterator[Row]:
    if not isinstance(unit.slice, Part):
        return found
    wanted, parts = unit.slice.number, numbered(found, unit.slice.text_bytes)
    up_to_it = itertools.takewhile(lambda numbered_row: numbered_row[0] <= wanted, parts)
    return (row for number, row in up_to_it if number == wanted)


def first_records_problem(storage: Storage, unit: Unit) -> str | None:
    """What is wrong with a unit's first records, if its columns are in none of them: asked once, before anything starts."""
    problem = None
    with closing(rows(storage, unit)) as found:
        for row in itertools.islice(found, FIRST_RECORDS):
            if row.get("reason") not in ("no_column", "not_an_object"):
                return None
            problem = problem or row["message"]
    return problem


def _unreadable_rows(file: BinaryIO, unit: Unit) -> Generator[Row]:
    assert isinstance(unit.slice, Unreadable)
    for position in range(unit.slice.start, unit.slice.stop):
        yield _unreadable(unit, position, None, unit.slice.reason, unit.slice.message)


def _streamed(file: BinaryIO, unit: Unit) -> Generator[Row]:
    position = 0
    try:
        with damage_explained(unit.file), _decompressed(file, unit) as stream:
            for row in _records(stream, unit):
                yield row
                position = row["position"] + 1
    except CorpusError as error:
        yield _damage(unit, position, error)


def _records(stream: BinaryIO, unit: Unit) -> Iterator[Row]:
    if unit.file.format == "jsonl":
        return _jsonl(stream, unit)
    if unit.file.format == "csv":
        return _csv(stream, unit)
    return _text(stream, unit)


def _damage(unit: Unit, position: int, error: CorpusError) -> Row:
    id_ = unit.file.uri if unit.file.format == "text" else None
    return _unreadable(unit, position, id_, DAMAGED, f"from here on: {error}")


@contextmanager
def _decompressed(file: BinaryIO, unit: Unit) -> Iterator[BinaryIO]:
    if unit.file.compression == "gzip":
        with gzip.open(file) as stream:
            yield cast(BinaryIO, stream)
    elif unit.file.compression == "zstd":
        with io.BufferedReader(_Zstandard(file), BUFFER) as buffered:
            yield buffered
    else:
        # a store's own readline copies a whole block for each line
        with io.BufferedReader(cast(io.RawIOBase, file), BUFFER) as buffered:
            yield buffered


class _Zstandard(io.RawIOBase):
    """Decompressed bytes up to the very damage: Arrow's own stream drops all of a read that ends in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = pa.CompressedInputStream(file, "zstd")
        self._given = 0
        self._damage: OSError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._damage:
            raise self._damage
        try:
            n_bytes = int(self._stream.readinto(buffer))
        except OSError as error:
            if error.errno is not None:  # the store's
                raise
            self._damage = error
            n_bytes = self._read_up_to_damage(buffer)
        self._given += n_bytes
        return n_bytes

    def _read_up_to_damage(self, buffer: Any) -> int:
        self._file.seek(0)
        stream, left = pa.CompressedInputStream(self._file, "zstd"), self._given
        while left:
            left -= len(stream.read(min(left, BUFFER)))
        for n_bytes in range(len(buffer)):
            try:
                buffer[n_bytes : n_bytes + 1] = stream.read(1)
            except OSError:
                if n_bytes:
                    return n_bytes
                raise
        return len(buffer)


def _parquet(file: BinaryIO, unit: Unit) -> Generator[Row]:
    # a row group that is cut into rows is too large to lie in memory, even as it is stored
    buffering = (
        {"buffer_size": STORED_BYTES} if isinstance(unit.slice, Rows) else {"pre_buffer": True}
    )
    with damage_explained(unit.file):
        parquet = pq.ParquetFile(file, page_checksum_verification=True, **buffering)
    if isinstance(unit.slice, Rows):
        start, stop = unit.slice.start, unit.slice.stop
        groups = range(unit.slice.row_group, unit.slice.row_group + 1)
    else:
        assert isinstance(unit.slice, RowGroups)
        groups = range(unit.slice.first, unit.slice.stop)
        start, stop = 0, sum(parquet.metadata.row_group(group).num_rows for group in groups)
    n_bytes = sum(parquet.metadata.row_group(group).total_byte_size for group in groups)
    n_rows = sum(parquet.metadata.row_group(group).num_rows for group in groups)
    batch_rows = min(BATCH_ROWS, max(1, n_rows * DECODED_BYTES // max(1, n_bytes)))
    yield from _row_groups(parquet, unit, groups, start, stop, unit.slice.first_row, batch_rows)


def _row_groups(
    parquet: pq.ParquetFile,
    unit: Unit,
    groups: range,
    start: int,
    stop: int,
    first_row: int,
    batch_rows: int,
) -> Generator[Row]:
    """Rows [start, stop) of row groups, counted from `first_row`, their first.

    Where a page is damaged, what is due is read again group by group, and in the damaged one row by row up to the
    damage. Behind it Arrow finds no way to the next page: each row there is an error.
    """
    reached = 0
    try:
        with damage_explained(unit.file):
            for batch, at in _batches(parquet, unit, groups, stop, batch_rows):
                reached = at + len(batch)
                due = max(start, at)
                wanted = batch.slice(min(due - at, len(batch)))
                for row in _batch_rows(unit, wanted, first_row + due):
                    yield row
                    start += 1
    except CorpusError as error:
        if len(groups) == 1 and batch_rows > 1 and start < reached + batch_rows:
            yield from _row_groups(parquet, unit, groups, start, stop, first_row, 1)
            return
        if len(groups) == 1:
            for position in range(first_row + start, first_row + stop):
                yield _damage(unit, position, error)
            return
        for group in groups:
            n_rows = parquet.metadata.row_group(group).num_rows
            if start < n_rows:
                alone = range(group, group + 1)
                due = max(start, 0)
                yield from _row_groups(
                    parquet, unit, alone, due, min(stop, n_rows), first_row, batch_rows
                )
            start, stop, first_row = start - n_rows, stop - n_rows, first_row + n_rows


def _batches(
    parquet: pq.ParquetFile, unit: Unit, groups: range, stop: int, batch_rows: int
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Record batches up to row `stop`, and the row at which each begins."""
    wanted = [unit.text_column, *filter(None, [unit.id_column]), *unit.extra_columns]
    columns = [name for name in dict.fromkeys(wanted) if name in parquet.schema_arrow.names]
    at = 0
    for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=columns):
        yield batch.slice(0, stop - at), at
        at += len(batch)
        if at >= stop:
            return


def _batch_rows(unit: Unit, batch: pa.RecordBatch, position: int) -> Iterator[Row]:
    texts = _values(batch.column(unit.text_column))
    ids = _values(batch.column(unit.id_column)) if unit.id_column else itertools.repeat(None)
    extra = [name for name in unit.extra_columns if name in batch.schema.names]
    values = batch.select(extra).to_pylist() if extra else itertools.repeat({})
    for text, id_, value in zip(texts, ids, values, strict=False):
        yield _document(unit, position, id_, text) | ({"values": value} if extra else {})
        position += 1


def _values(column: pa.Array) -> list[Any]:
    """Python values, strings as bytes: a string column may hold invalid UTF-8, which must cost its own row only."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if any(is_string(column.type) for is_string in STRINGS):
        column = column.cast(pa.large_binary())
    return cast(list[Any], column.to_pylist())


def _text(stream: BinaryIO, unit: Unit) -> Iterator[Row]:
    data = stream.read(unit.max_document_bytes + 1)  # one more than may be
    yield _document(unit, 0, unit.file.uri, data.removeprefix(codecs.BOM_UTF8))


def _jsonl(stream: BinaryIO, unit: Unit) -> Iterator[Row]:
    for position, line in _lines(stream, unit):
        if line is None:
            yield _too_large(unit, position, None)
        elif line.strip():
            yield _json_document(unit, position, line)


def line_starts(storage: Storage, unit: Unit) -> list[int]:
    """Positions of the lines in a byte range; nothing in them is looked at."""
    with storage.open(unit.file.stored) as file, _decompressed(file, unit) as stream:
        return [position for position, _ in _lines(stream, unit)]


def _lines(stream: BinaryIO, unit: Unit) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their positions: bytes in a byte range, row numbers elsewhere. None is a line that is too large."""
    start, stop = (
        (unit.slice.start, unit.slice.stop) if isinstance(unit.slice, Bytes) else (0, None)
    )
    at = start
    if start:
        stream.seek(start - 1)
        most = None if stop is None else stop - start + 1
        at += _skip_line(stream, most) - 1  # the rest of a line that began before this range
    number = 0
    while (stop is None or at < stop) and (line := stream.readline(unit.max_document_bytes + 1)):
        fits = len(line) <= unit.max_document_bytes
        yield number if stop is None else at, line if fits else None
        at += len(line) if fits or line.endswith(b"\n") else len(line) + _skip_line(stream)
        number += 1


def _skip_line(stream: BinaryIO, most: int | None = None) -> int:
    """Reads to the end of the line, or no further than about `most` bytes; returns how many they were."""
    skipped = 0
    while (most is None or skipped < most) and (part := stream.readline(BUFFER)):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _json_document(unit: Unit, position: int, line: bytes) -> Row:
    if position == 0:
        line = line.removeprefix(codecs.BOM_UTF8)
    try:
        record = json.loads(line)
    except UnicodeDecodeError as error:
        return _unreadable(
            unit, position, None, "invalid_utf8", f"byte {error.start} of the line: {error.reason}"
        )
    except (ValueError, RecursionError) as error:
        return _unreadable(unit, position, None, "invalid_json", str(error))
    if not isinstance(record, dict):
        found = type(record).__name__
        return _unreadable(
            unit, position, None, "not_an_object", f"expected a JSON object, found {found}"
        )
    return _named(unit, position, record)


def _csv(stream: BinaryIO, unit: Unit) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    # bytes that are not UTF-8 are kept as surrogates, so that they cost their own row only
    with io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = _CsvLines(file, unit.max_document_bytes)
        table = filter(None, csv.reader(lines, strict=True))  # blank lines are no rows
        header = next(table, [])
        for position in itertools.count():
            lines.begin_row()
            try:
                values = next(table)
            except StopIteration:
                return
            except _RowTooLargeError:
                yield _too_large(unit, position, None)
            except csv.Error as error:  # what follows is read as the next row
                yield _unreadable(unit, position, None, "invalid_csv", str(error))
            else:
                yield _csv_document(unit, position, header, values)


class _RowTooLargeError(csv.Error):
    pass


@dataclass
class _CsvLines:
    """The lines of a CSV file. A row of more than `limit` characters is read to its end, not kept, and raises."""

    file: TextIO
    limit: int
    held: int = 0  # characters of this row so far
    quotes: int = 0  # an odd number: the row goes on in the next line

    def begin_row(self) -> None:
        self.held = self.quotes = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.file.readline(self.limit - self.held + 1)
        self.held += len(line)
        self.quotes += line.count('"')
        if self.held > self.limit:
            self._skip_row(line)
            raise _RowTooLargeError(f"a row of more than {self.limit:,} bytes")
        if not line:
            raise StopIteration
        return line

    def _skip_row(self, line: str) -> None:
        while line and (self.quotes % 2 or not line.endswith(("\n", "\r"))):
            line = self.file.readline(BUFFER)
            self.quotes += line.count('"')


def _csv_document(unit: Unit, position: int, header: list[str], values: list[str]) -> Row:
    if len(values) != len(header):
        message = f"expected {len(header)} fields as in the header, found {len(values)}"
        return _unreadable(unit, position, None, "ragged_row", message)
    return _named(unit, position, dict(zip(header, values, strict=True)))


def _named(unit: Unit, position: int, record: Row) -> Row:
    for column in filter(None, (unit.text_column, unit.id_column)):
        if column not in record:
            names = sorted(record)[:NAMES_SHOWN]
            found = ", ".join(repr(name[:NAME_LENGTH]) for name in names)
            message = f"no column {column!r}; the record has {found}"
            return _unreadable(unit, position, None, "no_column", message)
    id_ = record[unit.id_column] if unit.id_column else None
    row = _document(unit, position, id_, record[unit.text_column])
    extra = {name: record[name] for name in unit.extra_columns if name in record}
    return row | ({"values": extra} if extra else {})


def _document(unit: Unit, position: int, id_: object, text: object) -> Row:
    if unit.id_column and id_ is None and unit.file.format != "text":
        return _unreadable(unit, position, None, "null_id", f"column {unit.id_column!r} is null")
    try:
        id_ = _decoded(id_)
    except UnicodeError as error:
        message = f"column {unit.id_column!r} at {error.args[2]}: {error.args[4]}"
        return _unreadable(unit, position, None, "invalid_utf8", message)
    if not isinstance(text, str | bytes | None):
        message = f"column {unit.text_column!r}: expected a string, found {type(text).__name__}"
        return _unreadable(unit, position, id_, "not_a_string", message)
    if text is not None and len(text) > unit.max_document_bytes:
        return _too_large(unit, position, id_)
    try:
        return _row(unit, position, id_, text=_decoded(text))
    except UnicodeError as error:
        message = f"at {error.args[2]}: {error.args[4]}"
        return _unreadable(unit, position, id_, "invalid_utf8", message)


def _decoded(value: object) -> object:
    """Bytes as text. Raises UnicodeError, for a lone surrogate too: JSON and CSV can bring them."""
    if isinstance(value, str):
        value.encode()
    return value.decode() if isinstance(value, bytes) else value


def _too_large(unit: Unit, position: int, id_: object) -> Row:
    message = (
        f"expected at most {unit.max_document_bytes:,} bytes; split the document, or allow more"
    )
    return _unreadable(unit, position, id_, "too_large", message)


def _unreadable(unit: Unit, position: int, id_: object, reason: str, message: str) -> Row:
    return _row(unit, position, id_, stage="read", reason=reason, message=message)


def _row(unit: Unit, position: int, id_: object, **fields: object) -> Row:
    # a document that can't be read keeps its pointer as its id, so that it can be found
    id_ = f"{unit.file.uri}#{position}" if id_ is None else str(id_)
    return {"id": id_, "position": position} | fields
