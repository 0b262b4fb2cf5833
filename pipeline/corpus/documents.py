"""A unit -> its DOCUMENTS. One reader per format; what can't be read leaves as a row with a reason.

What a damaged file still gives is read. The rest leaves as one row for each document of it, or as one for all where
nobody can tell how many they are. A document above the unit's `max_document_bytes` leaves too, without being held
beyond what its format's decoder holds: Parquet tells how large a value is only when its page is decoded.

A document's position is its row in the file (in an array its element), or its line's first byte in plain JSON Lines of
UTF-8, where rows can't be counted without reading what lies before. Without an id column the id is `<file
URI>#<position>`.
"""

import codecs
import csv
import io
import itertools
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus.columns import almost, repeated
from pipeline.corpus.csv_lines import CsvLines, RowTooLargeError, records, text_of
from pipeline.corpus.encodings import BUFFER, NUL_BYTES, Utf8, decompressed
from pipeline.corpus.files import damage_explained
from pipeline.corpus.ids import NoId, id_text, id_values, plain
from pipeline.corpus.int96 import ExactParquetFile
from pipeline.corpus.json_objects import Repeating, parse
from pipeline.corpus.json_values import BLANK, holds_lines, split
from pipeline.corpus.large_texts import (
    binary_values,
    large_text,
    with_python_text,
)
from pipeline.corpus.parts import Row
from pipeline.corpus.slices import ParquetSlice, Unit, Unreadable
from pipeline.corpus.units import has_byte_lines
from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage

STORED_BYTES = 2**24  # of a large Parquet row group's column, fetched at a time
TEXTS = (str, bytes, pa.Buffer, type(None))  # a union would be made anew for each document
BATCH_ROWS, DECODED_BYTES = 1024, 2**24  # of Parquet, decoded at a time, at most
DAMAGED = "damaged_file"
FIRST_RECORDS = 20  # of a file, which tell whether its columns are those that the job names
NAMES_SHOWN, NAME_LENGTH = 20, 40
SET_COLUMNS = "; set corpus.text_column and corpus.id_column"
USELESS = {  # reasons that hold for all of a file, and what to do
    "no_column": SET_COLUMNS,
    "not_an_object": SET_COLUMNS,
    "not_text": "",  # the message says
}


def rows(storage: Storage, unit: Unit) -> Generator[Row]:
    """All documents of a unit, one at a time. Raises SourceChangedError for a file that is not the planned one."""
    with closing(arrow_rows(storage, unit)) as found:
        yield from map(with_python_text, found)


def arrow_rows(storage: Storage, unit: Unit) -> Generator[Row]:
    """All documents of a unit, one at a time, for `documents_table`.

    A large text is a pa.StringArray of one value and no str. Raises what `rows` raises.
    """
    assert unit.slice.part_number is None, "a part is reached by its stream, in passes.py"
    with storage.open(unit.file.stored) as file, closing(_documents(file, unit)) as found:
        yield from itertools.islice(found, unit.limit)


def _documents(file: BinaryIO, unit: Unit) -> Generator[Row]:
    if unit.slice.unreadable:
        return _unreadable_rows(unit, unit.slice.unreadable)
    return _parquet(file, unit) if unit.file.format == "parquet" else _streamed(file, unit)


def first_records_problem(storage: Storage, unit: Unit) -> str | None:
    """What is wrong with a unit's first records and what to do, if its columns are in none of them.

    Asked before anything starts.
    """
    problem = None
    with closing(rows(storage, unit)) as found:
        for row in itertools.islice(found, FIRST_RECORDS):
            if row.get("reason") not in USELESS:
                return None
            problem = problem or row["message"] + USELESS[row["reason"]]
    return problem


def _unreadable_rows(unit: Unit, slice_: Unreadable) -> Generator[Row]:
    for position in range(slice_.start, slice_.stop):
        yield _unreadable(unit, position, None, slice_.reason, slice_.message)


def _streamed(file: BinaryIO, unit: Unit) -> Generator[Row]:
    position = 0
    try:
        with damage_explained(unit.file), decompressed(file, unit.file.compression) as stream:
            for row in _records(stream, unit):
                yield row
                position = row["position"] + 1
    except CorpusError as error:
        yield _damage(unit, position, error)


def _records(stream: io.BufferedIOBase, unit: Unit) -> Iterator[Row]:
    if unit.slice.byte_range[0]:  # planning has seen the first bytes
        return _json_documents(_lines(stream, unit), unit)
    utf8 = Utf8(stream)
    if utf8.problem:
        return iter([_not_text(unit, utf8.problem)])
    text = io.BufferedReader(utf8, BUFFER)
    if unit.file.format == "csv":
        return _csv(text, unit)
    if unit.file.format == "text":
        return _text(text, unit)
    return _jsonl(text, unit, utf8)


def _damage(unit: Unit, position: int, error: CorpusError) -> Row:
    return _unreadable(unit, position, _file_id(unit), DAMAGED, f"from here on: {error}")


def _not_text(unit: Unit, problem: str) -> Row:
    return _unreadable(unit, 0, _file_id(unit), "not_text", problem)


def _file_id(unit: Unit) -> str | None:
    return unit.file.uri if unit.file.format == "text" else None


def _parquet(file: BinaryIO, unit: Unit) -> Generator[Row]:
    slice_ = unit.slice
    assert isinstance(slice_, ParquetSlice)  # a Parquet file has no others
    # a row group that is cut into rows is too large to lie in memory, even as it is stored
    buffering = (  # pyarrow's pre_buffer, which is on by default, overrules buffer_size
        {"buffer_size": STORED_BYTES, "pre_buffer": False} if slice_.is_cut else {"pre_buffer": True}
    )
    with damage_explained(unit.file):
        parquet = ExactParquetFile(file, unit.id_column, page_checksum_verification=True, **buffering)
    groups = slice_.groups
    n_bytes = sum(parquet.metadata.row_group(group).total_byte_size for group in groups)
    n_rows = sum(parquet.metadata.row_group(group).num_rows for group in groups)
    start, stop = slice_.row_range if slice_.is_cut else (0, n_rows)
    batch_rows = min(BATCH_ROWS, max(1, n_rows * DECODED_BYTES // max(1, n_bytes)))
    yield from _row_groups(parquet, unit, groups, start, stop, slice_.first_row, batch_rows)


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
                wanted = _batch_rows(unit, batch.slice(min(due - at, len(batch))), first_row + due)
                del batch  # or it would be held while the next one is decoded
                for row in wanted:
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
                yield from _row_groups(parquet, unit, alone, due, min(stop, n_rows), first_row, batch_rows)
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
        del batch
        if at >= stop:
            return


def _batch_rows(unit: Unit, batch: pa.RecordBatch, position: int) -> Iterator[Row]:
    texts = binary_values(plain(batch.column(unit.text_column)))
    ids = id_values(batch.column(unit.id_column)) if unit.id_column else itertools.repeat(None)
    extra = [name for name in unit.extra_columns if name in batch.schema.names]
    values = zip(*(_values(batch.column(name)) for name in extra), strict=True)
    for text, id_, own in zip(texts, ids, values if extra else itertools.repeat(()), strict=False):
        row = _document(unit, position, id_, text)
        if extra:
            row["values"] = dict(zip(extra, own, strict=True))
        yield row
        position += 1


def _values(column: pa.Array) -> list[object]:
    """Python values; of one that Python has no value for, or text that is no UTF-8, the error."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError) as error:
        return error


def _text(stream: io.BufferedIOBase, unit: Unit) -> Iterator[Row]:
    data = stream.read(unit.max_document_bytes + 1)  # one more than may be
    if b"\0" in data:
        yield _not_text(unit, NUL_BYTES)
    else:
        yield _document(unit, 0, unit.file.uri, data.removeprefix(codecs.BOM_UTF8))


def _jsonl(stream: io.BufferedIOBase, unit: Unit, utf8: Utf8) -> Iterator[Row]:
    if holds_lines(utf8.head):
        return _json_documents(_lines(stream, unit, utf8.is_transcoded), unit)
    parts = iter(lambda: stream.read1(BUFFER), b"")
    return _json_documents(enumerate(split(parts, unit.max_document_bytes)), unit)


def _json_documents(values: Iterable[tuple[int, bytes | None]], unit: Unit) -> Iterator[Row]:
    for position, value in values:
        yield (_too_large(unit, position, None) if value is None else _json_document(unit, position, value))


def line_starts(storage: Storage, unit: Unit) -> list[int]:
    """Positions of the lines in a byte range, without a look at what they hold; empty if bytes don't tell."""
    with (
        storage.open(unit.file.stored) as file,
        decompressed(file, unit.file.compression) as stream,
    ):
        if not unit.slice.byte_range[0]:
            utf8 = Utf8(stream)
            if not has_byte_lines(utf8):
                return []
            stream = io.BufferedReader(utf8, BUFFER)
        return [position for position, _ in _lines(stream, unit)]


def _lines(stream: io.BufferedIOBase, unit: Unit, is_transcoded: bool = False) -> Iterator[tuple[int, bytes | None]]:
    """Lines that aren't blank and their positions: bytes in a byte range, row numbers elsewhere.

    None is one that is too large.
    """
    start, stop = (0, None) if is_transcoded else unit.slice.byte_range
    at = start
    if start:
        stream.seek(start - 1)
        most = None if stop is None else stop - start + 1
        at += _skip_line(stream, most) - 1  # the rest of a line that began before this range
    number = 0
    while (stop is None or at < stop) and (line := stream.readline(unit.max_document_bytes + 1)):
        fits = len(line) <= unit.max_document_bytes
        if not fits or line.strip(BLANK):
            yield number if stop is None else at, line if fits else None
        at += len(line) if fits or line.endswith(b"\n") else len(line) + _skip_line(stream)
        number += 1


def _skip_line(stream: io.BufferedIOBase, most: int | None = None) -> int:
    """Reads to the end of the line, or no further than about `most` bytes; returns how many they were."""
    skipped = 0
    while (most is None or skipped < most) and (part := stream.readline(BUFFER)):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _json_document(unit: Unit, position: int, value: bytes) -> Row:
    try:
        record = parse(value, unit.id_column)
    except UnicodeDecodeError as error:
        return _unreadable(unit, position, None, "invalid_utf8", f"byte {error.start} of the line: {error.reason}")
    except (ValueError, RecursionError) as error:
        return _unreadable(unit, position, None, "invalid_json", str(error))
    if not isinstance(record, dict):
        found = type(record).__name__
        return _unreadable(unit, position, None, "not_an_object", f"expected a JSON object, found {found}")
    if isinstance(record, Repeating) and (twice := record.repeated.intersection(unit.columns)):
        message = f"the object has {min(twice)!r} more than once; expected one"
        return _unreadable(unit, position, None, "repeated_name", message)
    return _named(unit, position, record)


def _csv(stream: io.BufferedIOBase, unit: Unit) -> Iterator[Row]:
    with text_of(stream) as file:
        lines = CsvLines(file, unit.max_document_bytes)
        found = records(lines)
        header = next(found, [])
        if name := repeated(header, unit.columns):  # planning refuses it, where it finds the header
            raise csv.Error(f"the header has {name!r} more than once")
        for position in itertools.count():
            lines.begin_row()
            try:
                values = next(found)
            except StopIteration:
                return
            except RowTooLargeError:
                yield _too_large(unit, position, None)
            except csv.Error as error:  # what follows is read as the next row
                yield _unreadable(unit, position, None, "invalid_csv", str(error))
            else:
                yield _csv_document(unit, position, header, values)


def _csv_document(unit: Unit, position: int, header: list[str], values: list[str]) -> Row:
    if len(values) != len(header):
        message = f"expected {len(header)} fields as in the header, found {len(values)}"
        return _unreadable(unit, position, None, "ragged_row", message)
    if values == header:
        message = "the header again, as where files were joined"
        return _unreadable(unit, position, None, "repeated_header", message)
    return _named(unit, position, dict(zip(header, values, strict=True)))


def _named(unit: Unit, position: int, record: Row) -> Row:
    for column in filter(None, (unit.text_column, unit.id_column)):
        if column not in record:
            found = ", ".join(repr(name[:NAME_LENGTH]) for name in sorted(record)[:NAMES_SHOWN])
            hint = almost(column, record)
            message = f"no column {column!r}; the record has {found}{hint}"
            return _unreadable(unit, position, None, "no_column", message)
    id_ = record[unit.id_column] if unit.id_column else None
    row = _document(unit, position, id_, record[unit.text_column])
    extra = {name: record[name] for name in unit.extra_columns if name in record}
    return row | ({"values": extra} if extra else {})


def _document(unit: Unit, position: int, id_: object, text: object) -> Row:
    if unit.id_column and unit.file.format != "text":
        id_ = id_text(id_)
        if isinstance(id_, NoId):
            message = f"column {unit.id_column!r} {id_.message}"
            return _unreadable(unit, position, None, id_.reason, message)
    if not isinstance(text, TEXTS):
        message = f"column {unit.text_column!r}: expected a string, found {type(text).__name__}"
        return _unreadable(unit, position, id_, "not_a_string", message)
    if text is not None and len(text) > unit.max_document_bytes:
        return _too_large(unit, position, id_)
    try:
        return _row(unit, position, id_, text=_decoded(text))
    except UnicodeError as error:
        message = f"at {error.args[2]}: {error.args[4]}"
        return _unreadable(unit, position, id_, "invalid_utf8", message)


def _decoded(text: str | bytes | pa.Buffer | None) -> str | pa.StringArray | None:
    """Raises UnicodeError, for a lone surrogate too: JSON and CSV can bring them."""
    if isinstance(text, bytes):
        return text.decode()
    if isinstance(text, str):
        text.encode()
    return large_text(text) if isinstance(text, pa.Buffer) else text


def _too_large(unit: Unit, position: int, id_: object) -> Row:
    message = f"expected at most {unit.max_document_bytes:,} bytes; split the document, or allow more"
    return _unreadable(unit, position, id_, "too_large", message)


def _unreadable(unit: Unit, position: int, id_: object, reason: str, message: str) -> Row:
    return _row(unit, position, id_, stage="read", reason=reason, message=message)


def _row(unit: Unit, position: int, id_: object, **fields: object) -> Row:
    # a document that can't be read keeps its pointer as its id, so that it can be found
    id_ = f"{unit.file.uri}#{position}" if id_ is None else id_
    return {"id": id_, "position": position} | fields
