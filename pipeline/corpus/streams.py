"""Units that one reading of a file gives, one after the other: the file is read once, one unit of it is held at a time.

A stream can only be read from its beginning, and rows deep in a large Parquet row group cost the decoding of all that
lies before them. So neighbouring units of either are read in one pass. `unit_rows` is the one way to the documents of
units, for whoever labels them, looks again at damage, or reads their labels.
"""

from bisect import bisect_right
from collections.abc import Generator, Hashable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import groupby, islice
from operator import itemgetter

import pyarrow as pa

from pipeline.corpus.documents import arrow_rows
from pipeline.corpus.rows import DAMAGED, Row, documents_table, weight
from pipeline.corpus.slices import Stream, Unit
from pipeline.errors import StorageError
from pipeline.storage.objects import Storage

Pass = tuple[Unit, ...]


def passes(units: Iterable[Unit]) -> Iterator[Pass]:
    """Yields units in order, those together that are read together."""
    for _, together in groupby(enumerate(units), _read_with):
        yield tuple(unit for _, unit in together)


def _read_with(numbered_unit: tuple[int, Unit]) -> Hashable:
    number, unit = numbered_unit
    key = unit.slice.pass_key
    return number if key is None else (unit.file, key)


def read_pass(storage: Storage, units: Pass) -> Iterator[tuple[Unit, pa.Table]]:
    """Yield each unit of a pass with its DOCUMENTS; of a stream, each of its parts.

    Damage is believed when it is seen twice: a row of it stays in the table for as long as the file does.

    Raises what `arrow_rows` raises, and StorageError where a second reading finds other damage, or a stream ends before
    a part that it had when it was cut.
    """
    wanted = {unit.slice.part_number for unit in units if unit.slice.part_number is not None}
    with closing(unit_rows(storage, units)) as units_with_rows:
        for unit, rows in units_with_rows:
            documents = list(rows)
            _check_damage(storage, unit, documents)
            if unit.slice.pass_key is not None:
                # what is yielded may be kept long before the end, where the file is looked at again
                storage.check_unchanged(unit.file.stored)
            wanted -= {unit.slice.part_number}
            yield unit, documents_table(documents, unit.reading.carried_type)
    if wanted:
        raise StorageError(
            f"{units[0].file.uri}: ends before part {min(wanted)}, which it had when it was first read; run again"
        )


def _check_damage(storage: Storage, unit: Unit, documents: list[Row]) -> None:
    if not (damage := _damage(documents)):
        return
    with closing(unit_rows(storage, (unit,))) as again:
        if [_damage(rows) for _, rows in again] != [damage]:
            raise StorageError(
                f"{unit.file.uri}: damaged when read once, and not or elsewhere when read again; run again"
            )


def _damage(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.get("reason") == DAMAGED]


def unit_rows(storage: Storage, units: Pass) -> Generator[tuple[Unit, Iterator[Row]]]:
    """Yield each unit of a pass with its documents, one at a time; of a stream, each of its parts.

    A unit's documents are to be read before the next unit is asked for, which skips those that are left.

    Raises what `arrow_rows` raises.
    """
    first, stream = units[0], units[0].slice.stream
    if first.slice.pass_key is None and not stream:
        with closing(arrow_rows(storage, first)) as rows:
            yield first, rows
        return
    whole = replace(first, slice=first.slice.up_to(units[-1].slice), limit=None, documents=None)
    with closing(arrow_rows(storage, whole)) as rows:
        for unit, documents in _of_parts(rows, units, stream) if stream else _of_rows(rows, units):
            yield unit, islice(documents, unit.limit)


def _of_parts(rows: Iterator[Row], units: Pass, stream: Stream) -> Iterator[tuple[Unit, Iterator[Row]]]:
    wanted = {unit.slice.part_number: unit for unit in units if unit.slice.part_number is not None}
    every_part = not wanted
    for number, numbered_rows in groupby(numbered(rows, stream.text_bytes), itemgetter(0)):
        if every_part or number in wanted:
            unit = units[0].part(number) if every_part else wanted.pop(number)
            yield unit, (row for _, row in numbered_rows)
            if not (every_part or wanted):
                return


def numbered(rows: Iterable[Row], text_bytes: int) -> Iterator[tuple[int, Row]]:
    """Each document with the number of its part: a part ends with the document that makes it weigh `text_bytes`."""
    number = held = 0
    for row in rows:
        yield number, row
        held += weight(row)
        if held >= text_bytes:
            number, held = number + 1, 0


def _of_rows(rows: Iterator[Row], units: Pass) -> Iterator[tuple[Unit, Iterator[Row]]]:
    starts = [unit.slice.first_position for unit in units]
    lengths = [stop - start for start, stop in (unit.slice.row_range for unit in units)]

    def unit_of(row: Row) -> int | None:
        number = bisect_right(starts, row["position"]) - 1
        return number if row["position"] < starts[number] + lengths[number] else None  # of units that are done

    for number, documents in groupby(rows, unit_of):
        if number is not None:
            yield units[number], documents
