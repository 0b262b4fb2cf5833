"""Partition keys that documents bring, and not the path of their file: a column of the corpus, or a part of its date.

A unit's documents may lie in several partitions. So a group of units has a file for each partition that its documents
name (groups.py), and what a partition's column holds lies in the paths alone; a date's column stays in the files too.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import CorpusError
from pipeline.schema import column
from pipeline.tables.hive_paths import partition_path

DatePart = Literal["year", "month", "day"]
PARTS = {"year": ("%Y", pa.int32()), "month": ("%Y-%m", pa.string()), "day": ("%Y-%m-%d", pa.date32())}
DATE_LENGTHS = {"year": 4, "month": 7, "day": 10}  # of what a text that begins with a date has of it
DATE_TEXT = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])($|[T ])"
CALL = re.compile(rf"({'|'.join(get_args(DatePart))})\((.+)\)")
MAX_PARTITIONS = 10_000  # of a table: no more are taken by BigQuery
LONGEST_NAME = 255  # bytes, of a folder on a disk; percent signs triple what is not ASCII

IsOf = Callable[[pa.DataType], bool]
PLAIN_TYPES: tuple[IsOf, ...] = (pa.types.is_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_date)
DATED_TYPES: tuple[IsOf, ...] = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_string)


@dataclass(frozen=True, slots=True)
class ColumnKey:
    """A key of the table's paths that a carried column gives, whole or by a part of its date."""

    source: str
    part: DatePart | None = None

    @classmethod
    def parse(cls, text: str) -> "ColumnKey":
        """Reads `lang` or `month(published_at)`."""
        call = CALL.fullmatch(text)
        return cls(call[2], cast(DatePart, call[1])) if call else cls(text)

    @property
    def name(self) -> str:
        """The key in the table's paths."""
        return f"{self.source}_{self.part}" if self.part else self.source

    def field(self, of: pa.DataType) -> pa.Field:
        """Gives the column that the key is to readers; `of`: the carried column's type."""
        if self.part:
            return column(self.name, PARTS[self.part][1], f"{self.part} of {self.source}, in UTC where it has a zone")
        return column(self.name, of, "column of the corpus")

    def suits(self, of: pa.DataType) -> bool:
        """Tells whether values of a type can be partitions."""
        return any(is_of(of) for is_of in (DATED_TYPES if self.part else PLAIN_TYPES))

    def values(self, carried: pa.Array) -> list[str | None]:
        """Gives the partition of each value of the carried column, as paths have it; null and "" are one."""
        if self.part and pa.types.is_string(carried.type):
            is_date = pc.match_substring_regex(carried, DATE_TEXT)
            texts = pc.if_else(is_date, pc.utf8_slice_codeunits(carried, 0, DATE_LENGTHS[self.part]), None)
        elif self.part:
            texts = pc.strftime(carried, PARTS[self.part][0])
        else:
            texts = carried.cast(pa.string())
        return [text or None for text in texts.to_pylist()]


Partition = tuple[tuple[str, str | None], ...]


def check_partitions(keys: Sequence[str], partitions: Iterable[Mapping[str, str | None]]) -> None:
    """Raises CorpusError for more partitions than engines take, or a value that is too long for a folder's name."""
    distinct = {tuple(partition.items()) for partition in partitions}
    if len(distinct) > MAX_PARTITIONS:
        raise CorpusError(
            f"table.partition_by {list(keys)}: the corpus has {len(distinct):,} partitions or more; expected at most "
            f"{MAX_PARTITIONS:,}, as warehouses take no more: partition by a column with fewer values"
        )
    for key, value in {pair for partition in distinct for pair in partition}:
        folder = partition_path([(key, value)]).rstrip("/")
        if len(folder) > LONGEST_NAME:
            raise CorpusError(
                f"table.partition_by {key!r}: as a folder of the table the value {(value or '')[:40]!r}… has "
                f"{len(folder)} bytes; expected at most {LONGEST_NAME}: leave {key!r} out, and it becomes a column"
            )


def divide(documents: pa.Table, keys: Sequence[ColumnKey]) -> list[tuple[Partition, pa.Table]]:
    """Divides documents by the keys' values, in their order; each part is in the order of `documents`."""
    if not keys:
        return [((), documents)]
    columns = [key.values(documents[key.source].combine_chunks()) for key in keys]
    places: dict[tuple[str | None, ...], list[int]] = {}
    for place, values in enumerate(zip(*columns, strict=True)):
        places.setdefault(values, []).append(place)
    names = [key.name for key in keys]
    ordered = sorted(places.items(), key=lambda item: [value or "" for value in item[0]])
    return [(tuple(zip(names, values, strict=True)), documents.take(at)) for values, at in ordered]
