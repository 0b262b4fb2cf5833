"""Cut files into units without reading text.

Parquet is cut by its footer: whole row groups up to the wanted size, and rows where one row group is larger than that.
Plain JSON Lines is cut by byte ranges; a line belongs to the range that its first byte lies in. Compressed files, CSV,
JSON that is not in lines and what is not UTF-8 can only be read from their beginning: they are cut into parts as they
stream by, and nobody knows how many there are before that. A text file is one unit. A Parquet file that can't be cut,
among others that can, becomes units of errors: it must not keep the rest of the corpus from being labelled, nor leave
in silence.
"""

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.columns import almost, named_columns, other_delimiter, repeated
from pipeline.corpus.csv_lines import first_row
from pipeline.corpus.encodings import DAMAGE, FIRST_BYTES, Utf8, decompressed
from pipeline.corpus.files import CorpusFile, damage_explained
from pipeline.corpus.json_values import holds_lines
from pipeline.corpus.slices import Bytes, RowGroups, Rows, Slice, Stream, Unit, Unreadable, WholeFile
from pipeline.errors import CorpusError
from pipeline.mapped import Mapped
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import TRANSFERS, Storage

DOCUMENT_BYTES = 512  # what a document weighs beside its text, or a unit of empty ones would fill the memory
FOOTER_BYTES = 2**16  # of a Parquet file's end: most footers are smaller
# of a CSV file, tried one after the other: the first is enough but for very wide tables
HEADER_BYTES = (FIRST_BYTES, 2**20, 2**24)
MANY_FILES = 10_000  # from here on a cluster's tasks look at them: Ray's start costs less than their requests
TOGETHER = 1_000  # files of one such task
UNREADABLE_ROWS = 10_000  # in one unit: they weigh next to nothing


def cut(
    storage: Storage,
    files: Sequence[CorpusFile],
    settings: CorpusSettings,
    text_bytes: int,
    mapped: Mapped = map,
) -> list[Unit]:
    """All units of the files, in order. Reads footers and first bytes, several files at a time, but no text.

    `mapped` spreads the files where they are many: each costs a request or two, and one process sends some hundreds a
    second.

    Raises CorpusError if not one of the Parquet files can be read, or if a CSV file's header is no use.
    """
    together = [files[start : start + TOGETHER] for start in range(0, len(files), TOGETHER)]
    spread: Mapped = mapped if len(files) > MANY_FILES else map
    cutter = Cutter(storage, settings, text_bytes)
    units = list(itertools.chain.from_iterable(spread(cutter, together)))
    _refuse_if_none_is_readable([unit for unit in units if unit.file.format == "parquet"])
    return units


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts some files, several at a time: each waits for the store, not for a core."""

    storage: Storage
    settings: CorpusSettings
    text_bytes: int

    def __call__(self, files: Sequence[CorpusFile]) -> list[Unit]:
        with ThreadPoolExecutor(TRANSFERS) as pool:
            return [unit for units in pool.map(self._cut, files) for unit in units]

    def _cut(self, file: CorpusFile) -> list[Unit]:
        return list(_cut_file(self.storage, file, self.settings, self.text_bytes))


def _refuse_if_none_is_readable(units: list[Unit]) -> None:
    problems = [unit.slice.unreadable.message for unit in units if unit.slice.unreadable]
    if problems and len(problems) == len(units):
        raise CorpusError(problems[0])


def _cut_file(storage: Storage, file: CorpusFile, settings: CorpusSettings, text_bytes: int) -> Iterator[Unit]:
    whole = Unit(
        file,
        WholeFile(),
        settings.id_column,
        settings.text_column,
        max_document_bytes=settings.max_document_bytes,
    )
    if file.format == "parquet":
        yield from _cut_parquet(storage, whole, named_columns(settings), text_bytes)
    elif file.format == "jsonl" and not file.compression:
        yield from _cut_json(storage, whole, text_bytes)
    elif file.format == "text":
        yield replace(whole, documents=1)
    else:
        if file.format == "csv":
            _check_header(storage, whole, named_columns(settings))
        yield replace(whole, slice=Stream(text_bytes))


def _cut_json(storage: Storage, whole: Unit, text_bytes: int) -> Iterator[Unit]:
    stored = whole.file.stored
    ranges = list(even_ranges(stored.size, text_bytes))
    if len(ranges) > 1:  # the reader of a whole file looks for itself
        first = io.BytesIO(storage.read_start(stored, FIRST_BYTES))
        if not has_byte_lines(Utf8(first)):
            yield replace(whole, slice=Stream(text_bytes))
            return
    for start, stop in ranges:
        yield replace(whole, slice=Bytes(start, stop))


def has_byte_lines(text: Utf8) -> bool:
    """Whether lines of JSON can be found from any byte of the file on."""
    return not text.is_transcoded and not text.problem and holds_lines(text.head)


def _check_header(storage: Storage, whole: Unit, columns: dict[str, str]) -> None:
    uri, header = whole.file.uri, _header(storage, whole)
    if name := repeated(header, columns.values()):
        raise CorpusError(
            f"{uri}: the header has {name!r} {header.count(name)} times; expected it once: rename the columns that "
            "are not meant"
        )
    if said := other_delimiter(header, whole.text_column):
        raise CorpusError(
            f"{uri}: {said} is between the columns ({header[0][:40]!r}); expected commas: write it with commas, or "
            "as Parquet or JSON Lines"
        )


def _header(storage: Storage, whole: Unit) -> list[str]:
    """A CSV file's, from as many of its first bytes as it takes; empty where the file is damaged."""
    for size in HEADER_BYTES:
        first = io.BytesIO(storage.read_start(whole.file.stored, size))
        with (
            contextlib.suppress(csv.Error, *DAMAGE),
            decompressed(first, whole.file.compression) as stream,
        ):
            if found := first_row(Utf8(stream), whole.max_document_bytes):
                return found
        if size >= whole.file.stored.size:
            break
    return []


def _cut_parquet(storage: Storage, whole: Unit, columns: dict[str, str], text_bytes: int) -> Iterator[Unit]:
    try:
        with damage_explained(whole.file):
            metadata = _footer(storage, whole.file.stored)
            schema = metadata.schema.to_arrow_schema()
    except CorpusError as error:
        yield from _unreadable(whole, "damaged_file", str(error), 1)
        return
    try:
        _check_columns(whole.file, schema.names, columns)
        column = _text_column_index(metadata, schema, whole)
    except CorpusError as error:
        yield from _unreadable(whole, "no_column", str(error), metadata.num_rows)
        return
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    rows = [group.num_rows for group in groups]
    sizes = [group.column(column).total_uncompressed_size + DOCUMENT_BYTES * group.num_rows for group in groups]
    for slice_, n_rows in parquet_slices(sizes, rows, text_bytes):
        yield replace(whole, slice=slice_, documents=n_rows)


def row_groups(storage: Storage, unit: Unit) -> Iterator[Unit]:
    """Each row group of a unit as one of its own."""
    assert isinstance(unit.slice, RowGroups)
    metadata, first_row = _footer(storage, unit.file.stored), unit.slice.first_row
    for group in range(unit.slice.first, unit.slice.stop):
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


def _check_columns(file: CorpusFile, names: list[str], columns: dict[str, str]) -> None:
    for setting, name in columns.items():
        has = names.count(name)
        if has > 1 or (not has and setting in ("corpus.id_column", "corpus.text_column")):
            many = "more than one column" if has else "no column"
            hint = "" if has else almost(name, names)
            raise CorpusError(f"{file.uri}: {many} {name!r} ({setting}); the file has {', '.join(names)}{hint}")


def _text_column_index(metadata: pq.FileMetaData, schema: pa.Schema, unit: Unit) -> int:
    found = schema.field(unit.text_column).type
    stored = "INT32" if pa.types.is_null(found) else "BYTE_ARRAY"  # as strings of every kind are
    for index in range(metadata.num_columns):
        leaf = metadata.schema.column(index)
        if (leaf.path, leaf.physical_type) == (unit.text_column, stored):
            return index
    raise CorpusError(f"{unit.file.uri}: column {unit.text_column!r} (corpus.text_column) is {found}; expected strings")


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


def even_ranges(total: int, wanted: int) -> Iterator[tuple[int, int]]:
    """[0, total) in ranges of about `wanted`, of sizes that differ by one at most."""
    parts = max(1, round(total / wanted)) if total else 0
    bounds = [total * part // parts for part in range(parts + 1)] if parts else []
    yield from itertools.pairwise(bounds)
