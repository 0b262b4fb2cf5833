"""A unit of work, and the kinds of slices of a file that one can be.

What a slice has to say of itself it says here: what of it goes into ids, what is read with it in one pass, which bytes
or rows of the file it is. Callers ask it, and none asks for its class.
"""

import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline.config.corpus import MAX_DOCUMENT_BYTES, TEXT_SEPARATOR
from pipeline.corpus.carried import CarriedColumns
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.identity import digest


class Slice:
    """A part of a file. What is said here holds for every kind that does not say otherwise."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        names: tuple[str, ...] = self.__slots__
        return type(self), tuple(getattr(self, name) for name in names)

    @property
    def form(self) -> tuple[object, ...]:
        """What of it is hashed into a unit's id, under a tag of its own that stays."""
        raise NotImplementedError

    @property
    def pass_key(self) -> Hashable | None:
        """Neighbours in one file whose key is equal are read in one pass; None for one that is read alone."""
        return None

    def up_to(self, last: "Slice") -> "Slice":
        """The slice that is read for a pass from this to its last: both, and what lies between them."""
        assert last == self
        return self

    @property
    def byte_range(self) -> tuple[int, int | None]:
        """The lines that are read: those whose first byte lies in [start, stop), to the file's end if stop is None."""
        return 0, None

    @property
    def row_range(self) -> tuple[int, int]:
        """Rows [start, stop) of its row group, for a kind that is rows of one."""
        raise NotImplementedError

    @property
    def first_position(self) -> int:
        """Number in the file of its first row, for a kind that is rows."""
        raise NotImplementedError

    @property
    def stream(self) -> "Stream | None":
        """The stream that it is, or is a part of."""
        return None

    @property
    def part_number(self) -> int | None:
        """Which part of its stream it is; None for one that is no part."""
        return None

    @property
    def is_stream(self) -> bool:
        """Whether it is a whole stream, whose parts nobody has counted yet."""
        return self.stream is not None and self.part_number is None

    @property
    def unreadable(self) -> "Unreadable | None":
        """Itself, if planning found it to be of no use."""
        return None


class ParquetSlice(Slice):
    """Rows of neighbouring row groups of a Parquet file; `first_row` is the first group's first row in the file."""

    __slots__ = ()

    first_row: int

    @property
    def groups(self) -> range:
        """Numbers of the row groups."""
        raise NotImplementedError

    @property
    def is_cut(self) -> bool:
        """Whether it is some rows of one row group, which is too large for one unit, by its `row_range`."""
        return False


@dataclass(frozen=True, slots=True)
class RowGroups(ParquetSlice):
    """Parquet row groups [first, stop)."""

    first: int
    stop: int
    first_row: int

    @property
    def form(self) -> tuple[object, ...]:
        return "row_groups", self.first, self.stop, self.first_row

    @property
    def first_position(self) -> int:
        return self.first_row

    @property
    def groups(self) -> range:
        return range(self.first, self.stop)


@dataclass(frozen=True, slots=True)
class Rows(ParquetSlice):
    """Rows [start, stop) of one Parquet row group."""

    row_group: int
    start: int
    stop: int
    first_row: int

    @property
    def form(self) -> tuple[object, ...]:
        return "rows", self.row_group, self.start, self.stop, self.first_row

    @property
    def pass_key(self) -> Hashable:
        return self.row_group

    def up_to(self, last: Slice) -> "Rows":
        return replace(self, stop=last.row_range[1])

    @property
    def first_position(self) -> int:
        return self.first_row + self.start

    @property
    def groups(self) -> range:
        return range(self.row_group, self.row_group + 1)

    @property
    def is_cut(self) -> bool:
        return True

    @property
    def row_range(self) -> tuple[int, int]:
        return self.start, self.stop


@dataclass(frozen=True, slots=True)
class Bytes(Slice):
    """Lines whose first byte lies in [start, stop)."""

    start: int
    stop: int

    @property
    def form(self) -> tuple[object, ...]:
        return "bytes", self.start, self.stop

    @property
    def byte_range(self) -> tuple[int, int]:
        return self.start, self.stop


@dataclass(frozen=True, slots=True)
class WholeFile(Slice):
    """A file that is one unit."""

    @property
    def form(self) -> tuple[object, ...]:
        return ("whole_file",)


@dataclass(frozen=True, slots=True)
class Stream(Slice):
    """Every part of a file that nobody has read to its end yet."""

    text_bytes: int

    @property
    def form(self) -> tuple[object, ...]:
        return "stream", self.text_bytes

    @property
    def stream(self) -> "Stream":
        return self


@dataclass(frozen=True, slots=True)
class Part(Slice):
    """The documents of a stream from where part `number - 1` ends until they weigh `text_bytes`."""

    number: int
    text_bytes: int

    @property
    def form(self) -> tuple[object, ...]:
        return "part", self.number, self.text_bytes

    @property
    def pass_key(self) -> Hashable:
        return "stream"

    def up_to(self, last: Slice) -> Stream:
        return self.stream

    @property
    def stream(self) -> Stream:
        return Stream(self.text_bytes)

    @property
    def part_number(self) -> int:
        return self.number


@dataclass(frozen=True, slots=True)
class Unreadable(Slice):
    """Rows [start, stop) of a file that planning found to be of no use, each an error.

    One row if not even their number is known.
    """

    reason: str
    message: str
    start: int
    stop: int

    @property
    def form(self) -> tuple[object, ...]:
        return "unreadable", self.reason, self.start, self.stop  # not the message, whose words may be a library's

    @property
    def first_position(self) -> int:
        return self.start

    @property
    def unreadable(self) -> "Unreadable":
        return self


@dataclass(frozen=True, slots=True)
class Reading:
    """How documents are read: one value for all units of a corpus."""

    id_column: str | None
    text_columns: tuple[str, ...]  # joined in this order, see joined_texts.py
    max_document_bytes: int = MAX_DOCUMENT_BYTES  # a larger one becomes an error and is not held
    extra_columns: tuple[str, ...] = ()  # read as they are, for labels.py; they decide no score
    text_separator: str = TEXT_SEPARATOR
    carried: CarriedColumns | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are read, each once."""
        carried = self.carried.names if self.carried else ()
        wanted = (*self.text_columns, self.id_column, *self.extra_columns, *carried)
        return tuple(dict.fromkeys(name for name in wanted if name is not None))

    @property
    def text_form(self) -> object:
        """What is hashed of where a text lies: the column alone, as before there could be several."""
        return self.text_columns[0] if len(self.text_columns) == 1 else (self.text_columns, self.text_separator)

    @property
    def carried_type(self) -> pa.StructType | None:
        """The type of CARRIED in its documents; None if nothing is carried."""
        return self.carried.type if self.carried else None


@dataclass(frozen=True, slots=True)
class Unit:
    """A slice of one file: the unit of work, of retry and of memory."""

    file: CorpusFile
    slice: Slice
    reading: Reading
    documents: int | None = None  # where known without reading text
    limit: int | None = None  # read no more than this many: the last unit of a --limit run
    edition: int = 0  # how often it was given up, to try again what had failed

    def __reduce__(self) -> tuple[Any, ...]:
        return Unit, (self.file, self.slice, self.reading, self.documents, self.limit, self.edition)

    def id(self, scoring_key: str) -> str:
        """Digest, as 32 hex digits, of what is read, how, and what scores it: nothing of the run or the date."""
        if self.edition:
            return digest("unit_edition/1", *self._source(), scoring_key, self.edition)[:32]
        return digest("unit/1", *self._source(), scoring_key)[:32]

    @property
    def stream_id(self) -> str:
        """Digest, as 32 hex digits, of what is read and how, whatever scores it: names how many parts a stream has."""
        return digest("stream/1", *self._source())[:32]

    def _source(self) -> tuple[object, ...]:
        stored, reading = self.file.stored, self.reading
        file = (stored.uri, stored.size, stored.version, self.file.format, self.file.compression)
        how = (reading.id_column, reading.text_form, self.limit, reading.max_document_bytes)
        carried = (("carried", *reading.carried.form),) if reading.carried else ()
        return file, how, self.slice.form, *carried, *self._lake()

    def _lake(self) -> tuple[object, ...]:
        """What a lake table's file calls otherwise than the table, and which of its rows are deleted, if anything."""
        lake, reading = self.file.lake, self.reading
        carried = reading.carried.names if reading.carried else ()
        decisive = (*reading.text_columns, reading.id_column, *carried)
        if lake is None:
            return ()
        renamed = [pair for pair in lake.renamed if pair[0] in decisive]
        return (("lake", renamed, lake.deleted),) if renamed or lake.deleted else ()

    def part(self, number: int) -> "Unit":
        """Return part `number` of the stream that this unit is, or is a part of."""
        assert self.slice.stream is not None
        return replace(self, slice=Part(number, self.slice.stream.text_bytes))


def even_ranges(total: int, wanted: int) -> Iterator[tuple[int, int]]:
    """[0, total) in ranges of about `wanted`, of sizes that differ by one at most."""
    parts = max(1, round(total / wanted)) if total else 0
    bounds = [total * part // parts for part in range(parts + 1)] if parts else []
    yield from itertools.pairwise(bounds)
