"""Parquet: cut by its footer, into whole row groups up to the wanted size, and into rows where one group is larger.

A file that can't be cut becomes units of errors: among others that can, it must not keep the rest of the corpus from
being labelled, nor leave in silence.
"""

import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus.carried import CarriedColumns
from pipeline.corpus.column_paths import ColumnPathError, arrow_path, column_at
from pipeline.corpus.corpus_file import CorpusFile, damage_explained
from pipeline.corpus.formats.format import Format
from pipeline.corpus.formats.parquet_rows import parquet_rows
from pipeline.corpus.rows import DOCUMENT_BYTES, Row
from pipeline.corpus.slices import ParquetSlice, RowGroups, Rows, Slice, Unit, Unreadable, even_ranges
from pipeline.corpus.warehouse_types import NoWarehouseTypeError, warehouse_type
from pipeline.errors import CorpusError
from pipeline.isolation import ProcessDied, attempt, search_by_halving
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage

FOOTER_BYTES = 2**16  # of a Parquet file's end: most footers are smaller
UNREADABLE_ROWS = 10_000  # in one unit: they weigh next to nothing

ReadUnit = Callable[[Unit], pa.Table]


class Parquet(Format):
    """Apache Parquet, of any version and codec that Arrow reads."""

    title = "Parquet"
    endings = (".parquet", ".pq")
    is_compressible = False  # it is compressed inside, and read from its end
    has_columns_in_records = False

    def cut(self, storage: Storage, whole: Unit, columns: Mapping[str, str], text_bytes: int) -> Iterator[Unit]:
        """Yield row groups, or rows of one, by the footer; errors of as many rows as it says where they are no use."""
        try:
            with damage_explained(whole.file):
                metadata = _footer(storage, whole.file.stored)
                schema = metadata.schema.to_arrow_schema()
        except CorpusError as error:
            yield from _unreadable(whole, "damaged_file", str(error), 1)
            return
        try:
            whole = replace(whole, file=whole.file.with_names_of(schema))
            if not whole.file.lake:
                _check_columns(whole.file, schema, columns)
            there = [name for name in map(whole.file.stored_name, whole.reading.text_columns) if name is not None]
            texts = [_text_column_index(metadata, schema, whole, name) for name in there]
        except CorpusError as error:
            yield from _unreadable(whole, "no_column", str(error), metadata.num_rows)
            return
        if carried := whole.reading.carried:
            _check_carried(whole.file, schema, carried)
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        rows = [group.num_rows for group in groups]
        sizes = [
            sum(group.column(index).total_uncompressed_size for index in texts) + DOCUMENT_BYTES * group.num_rows
            for group in groups
        ]
        for slice_, n_rows in parquet_slices(sizes, rows, text_bytes):
            yield replace(whole, slice=slice_, documents=n_rows)

    def rows(self, file: BinaryIO, unit: Unit) -> Generator[Row]:
        """Yield a row for each row of the unit's row groups; see parquet_rows.py."""
        return parquet_rows(file, unit)

    def read_around(self, storage: Storage, unit: Unit, read: ReadUnit) -> Iterator[pa.Table | range]:
        """Yield the rows before the one that can't be decoded: behind it nobody gets to its row group's others."""
        assert isinstance(unit.slice, ParquetSlice)
        if unit.slice.is_cut:
            yield from _rows_before_deadly(unit, read)
            return
        for group in _row_groups(storage, unit):
            try:
                yield attempt(read, group)
            except ProcessDied:
                yield from _rows_before_deadly(group, read)


def _rows_before_deadly(unit: Unit, read: ReadUnit) -> Iterator[pa.Table | range]:
    rows = unit.slice
    assert isinstance(rows, Rows)
    start = rows.first_position
    for documents in search_by_halving(unit, read, _halves, lambda _: None):
        if documents is None:
            yield range(start, rows.first_row + rows.stop)
            return
        if len(documents):  # fewer than the rows where a lake table has deleted some
            start = documents["position"][-1].as_py() + 1
        yield documents


def _halves(unit: Unit) -> Sequence[Unit]:
    rows = unit.slice
    assert isinstance(rows, Rows)
    middle = (rows.start + rows.stop) // 2
    if middle == rows.start:
        return ()
    return [replace(unit, slice=half) for half in (replace(rows, stop=middle), replace(rows, start=middle))]


def _row_groups(storage: Storage, unit: Unit) -> Iterator[Unit]:
    """Each row group of a unit as one of its own."""
    assert isinstance(unit.slice, RowGroups)
    metadata, first_row = _footer(storage, unit.file.stored), unit.slice.first_row
    for group in unit.slice.groups:
        n_rows = metadata.row_group(group).num_rows
        yield replace(unit, slice=Rows(group, 0, n_rows, first_row), documents=n_rows)
        first_row += n_rows


def _footer(storage: Storage, stored: StoredFile) -> pq.FileMetaData:
    """A Parquet file's metadata, from its end alone."""
    end = storage.read_end(stored, FOOTER_BYTES)
    length = int.from_bytes(end[-8:-4], "little") + 8
    if len(end) < length <= stored.size:
        end = storage.read_end(stored, length)
    return pq.read_metadata(io.BytesIO(end))


def _unreadable(whole: Unit, reason: str, message: str, rows: int) -> Iterator[Unit]:
    for start in range(0, rows, UNREADABLE_ROWS):
        stop = min(start + UNREADABLE_ROWS, rows)
        yield replace(whole, slice=Unreadable(reason, message, start, stop), documents=stop - start)


def _check_columns(file: CorpusFile, schema: pa.Schema, columns: Mapping[str, str]) -> None:
    for name, setting in columns.items():
        try:
            arrow_path(schema, name)
        except ColumnPathError as error:
            if not error.is_absent or setting in ("corpus.id_column", "corpus.text_column"):
                raise CorpusError(f"{file.uri}: {error.as_setting(name, setting)}") from error


def read_schema(storage: Storage, file: CorpusFile) -> pa.Schema:
    """The Arrow schema in a Parquet file's footer; one without columns where it can't be read."""
    try:
        with damage_explained(file):
            return _footer(storage, file.stored).schema.to_arrow_schema()
    except CorpusError:
        return pa.schema([])


def first_row_group(storage: Storage, file: CorpusFile, name: str) -> pa.Array | None:
    """A column of a Parquet file's first row group; None where there is none, or where it can't be read."""
    try:
        with storage.open(file.stored) as stored, damage_explained(file):
            parquet = pq.ParquetFile(stored)
            path, _ = arrow_path(parquet.schema_arrow, name)
            if not parquet.num_row_groups:
                return None
            return column_at(parquet.read_row_group(0, columns=[".".join(path)]), path).combine_chunks()
    except (CorpusError, ColumnPathError):
        return None


def warehouse_types(file: CorpusFile, schema: pa.Schema, names: Sequence[str]) -> Iterator[tuple[str, pa.DataType]]:
    """Yield those of some columns that a Parquet file has, with their types.

    Raises CorpusError for a type that can't be a column in every engine.
    """
    for name in names:
        try:
            stored = file.stored_name(name)
            if stored is None:
                continue
            _, type_ = arrow_path(schema, stored)
            yield name, type_ if pa.types.is_null(type_) else warehouse_type(type_)
        except ColumnPathError as error:
            if not error.is_absent:
                raise CorpusError(f"{file.uri}: {error.as_setting(name, 'corpus.columns')}") from error
        except NoWarehouseTypeError as error:
            raise CorpusError(
                f"corpus.columns {name!r}: in {file.uri} {error}; cast it there, or leave it out"
            ) from error


def other_type(name: str, type_: pa.DataType, uri: str, other: pa.DataType, other_uri: str) -> str:
    """What is said where two files have a column as two types."""
    return (
        f"corpus.columns {name!r}: {type_} in {uri}, and {other} in {other_uri}; expected one type in all files: cast "
        "it there, or leave it out"
    )


def _check_carried(file: CorpusFile, schema: pa.Schema, carried: CarriedColumns) -> None:
    wanted = dict(zip(carried.names, zip(carried.type, carried.sources, strict=True), strict=True))
    for name, type_ in warehouse_types(file, schema, carried.names):
        column, uri = wanted[name]
        if type_ not in (column.type, pa.null()):
            raise CorpusError(other_type(name, column.type, uri, type_, file.uri))


def _text_column_index(metadata: pq.FileMetaData, schema: pa.Schema, unit: Unit, column: str) -> int:
    path, of_type = arrow_path(schema, column)
    stored = "INT32" if pa.types.is_null(of_type) else "BYTE_ARRAY"  # as strings of every kind are
    for index in range(metadata.num_columns):
        leaf = metadata.schema.column(index)
        if (leaf.path, leaf.name, leaf.physical_type) == (".".join(path), path[-1], stored):
            return index
    raise CorpusError(f"{unit.file.uri}: column {column!r} (corpus.text_column) is {of_type}; expected strings")


def parquet_slices(sizes: list[int], rows: list[int], text_bytes: int) -> Iterator[tuple[Slice, int]]:
    """Row groups' text sizes in bytes and row counts -> slices of about `text_bytes`, each with its number of rows."""
    first, held_bytes, held_rows, first_row = 0, 0, 0, 0
    for group, (size, n_rows) in enumerate(zip(sizes, rows, strict=True)):
        if held_rows and held_bytes + size > text_bytes:
            yield RowGroups(first, group, first_row), held_rows
            first, held_bytes, first_row, held_rows = group, 0, first_row + held_rows, 0
        if size > 2 * text_bytes and n_rows > 1:
            per_unit = max(1, n_rows * text_bytes // size)
            for start, stop in even_ranges(n_rows, per_unit):
                yield Rows(group, start, stop, first_row), stop - start
            first, first_row = group + 1, first_row + n_rows
            continue
        held_bytes += size
        held_rows += n_rows
    if held_rows:
        yield RowGroups(first, len(sizes), first_row), held_rows
