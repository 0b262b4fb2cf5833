"""Rows of a Parquet file, decoded some at a time, and what a damaged one still gives."""

import contextlib
import itertools
from collections.abc import Generator, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus.column_paths import ColumnPathError, arrow_path, column_at
from pipeline.corpus.corpus_file import damage_explained
from pipeline.corpus.formats.int96 import ExactParquetFile
from pipeline.corpus.ids import id_values, plain
from pipeline.corpus.joined_texts import joined_text
from pipeline.corpus.large_texts import binary_values
from pipeline.corpus.rows import Row, carrying_row, damaged_row, identified_row
from pipeline.corpus.slices import ParquetSlice, Unit
from pipeline.errors import CorpusError

STORED_BYTES = 2**24  # of a large row group's column, fetched at a time
BATCH_ROWS, DECODED_BYTES = 1024, 2**24  # decoded at a time, at most


def parquet_rows(file: BinaryIO, unit: Unit) -> Generator[Row]:
    """Yield a row for each row of a Parquet unit, and for each that can't be read. Raises what the store raises."""
    slice_ = unit.slice
    assert isinstance(slice_, ParquetSlice)  # a Parquet file has no others
    # a row group that is cut into rows is too large to lie in memory, even as it is stored
    buffering = (  # pyarrow's pre_buffer, which is on by default, overrules buffer_size
        {"buffer_size": STORED_BYTES, "pre_buffer": False} if slice_.is_cut else {"pre_buffer": True}
    )
    with damage_explained(unit.file):
        id_column = unit.file.stored_name(unit.reading.id_column) if unit.reading.id_column else None
        parquet = ExactParquetFile(file, id_column, page_checksum_verification=True, **buffering)
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
                yield damaged_row(unit, position, error)
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
    columns = [".".join(path) for path in _paths(parquet.schema_arrow, unit).values()]  # of a struct one leaf
    at = 0
    for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=columns):
        yield batch.slice(0, stop - at), at
        at += len(batch)
        del batch
        if at >= stop:
            return


def _batch_rows(unit: Unit, batch: pa.RecordBatch, position: int) -> Iterator[Row]:
    reading = unit.reading
    columns = {name: column_at(batch, path) for name, path in _paths(batch.schema, unit).items()}
    absent = pa.nulls(len(batch), pa.string())  # a lake table's file may be older than a column
    texts = zip(*(binary_values(plain(columns.get(name, absent))) for name in reading.text_columns), strict=True)
    ids = id_values(columns.get(reading.id_column, absent)) if reading.id_column else itertools.repeat(None)
    extra = [name for name in reading.extra_columns if name in columns]
    values = zip(*(_values(columns[name]) for name in extra), strict=True)
    carries = reading.carried.of_columns(columns, len(batch)) if reading.carried else itertools.repeat(None)
    every = zip(texts, ids, values if extra else itertools.repeat(()), carries, strict=False)
    for of_columns, id_, extra_values, carry in every:
        row = identified_row(unit, position, id_, joined_text(reading, of_columns))
        if extra:
            row["values"] = dict(zip(extra, extra_values, strict=True))
        yield carrying_row(unit, row, carry) if carry else row
        position += 1


def _paths(schema: pa.Schema, unit: Unit) -> dict[str, tuple[str, ...]]:
    """The columns that are read, among those that are there, and the names that lead to each."""
    paths: dict[str, tuple[str, ...]] = {}
    for column in unit.reading.columns:
        stored = unit.file.stored_name(column)
        if stored is not None:
            with contextlib.suppress(ColumnPathError):  # perhaps the path of the file says it
                paths[column], _ = arrow_path(schema, stored)
    return paths


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
