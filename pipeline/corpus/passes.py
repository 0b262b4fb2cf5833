"""Units that one reading of a file gives, one after the other: the file is read once, and one unit of it is held at a time.

A stream can only be read from its beginning, and rows deep in a large Parquet row group cost the decoding of all that
lies before them. So neighbouring units of either are read in one pass.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import pyarrow as pa

from pipeline.corpus.parts import Row, numbered
from pipeline.corpus.readers import arrow_rows, read, table
from pipeline.corpus.units import Part, Rows, Stream, Unit
from pipeline.errors import StorageError
from pipeline.storage.objects import Storage

Pass = tuple[Unit, ...]


def passes(units: Iterable[Unit]) -> list[Pass]:
    """Units in order, those together that are read together."""
    numbered_units = enumerate(units)
    return [tuple(unit for _, unit in together) for _, together in groupby(numbered_units, _read_with)]


def _read_with(numbered_unit: tuple[int, Unit]) -> Any:
    number, unit = numbered_unit
    if isinstance(unit.slice, Part):
        return unit.file
    if isinstance(unit.slice, Rows):
        return unit.file, unit.slice.row_group
    return number


def read_pass(storage: Storage, units: Pass) -> Iterator[tuple[Unit, pa.Table]]:
    """Each unit of a pass with its DOCUMENTS; of a stream, each of its parts.

    Raises what `read` raises, and StorageError where a stream ends before a part that it had when it was cut.
    """
    first = units[0]
    if not isinstance(first.slice, Stream | Part | Rows):
        yield first, read(storage, first)
        return
    with closing(arrow_rows(storage, _joined(units))) as found:
        for unit, documents in _split(found, units):
            documents = documents[: unit.limit]
            checked = table(storage, unit, documents)
            # what is yielded may be kept long before the end, where the file is looked at again
            storage.check_unchanged(unit.file.stored)
            yield unit, checked


def _joined(units: Pass) -> Unit:
    """One unit that holds all of a pass, and what lies between them."""
    first, last = units[0].slice, units[-1].slice
    if isinstance(first, Part):
        whole: Stream | Rows = Stream(first.text_bytes)
    elif isinstance(first, Rows) and isinstance(last, Rows):
        whole = replace(first, stop=last.stop)
    else:
        assert isinstance(first, Stream)
        whole = first
    return replace(units[0], slice=whole, limit=None, documents=None)


def _split(found: Iterator[Row], units: Pass) -> Iterator[tuple[Unit, list[Row]]]:
    slice_ = units[0].slice
    if isinstance(slice_, Rows):
        return _split_rows(found, units, slice_.start)
    assert isinstance(slice_, Stream | Part)
    parts = (
        (number, [row for _, row in together])
        for number, together in groupby(numbered(found, slice_.text_bytes), itemgetter(0))
    )
    if isinstance(slice_, Stream):
        return ((units[0].part(number), documents) for number, documents in parts)
    return _wanted_parts(parts, units)


def _wanted_parts(parts: Iterable[tuple[int, list[Row]]], units: Pass) -> Iterator[tuple[Unit, list[Row]]]:
    wanted = {unit.slice.number: unit for unit in units if isinstance(unit.slice, Part)}
    for number, documents in parts:
        if number in wanted:
            yield wanted.pop(number), documents
        if not wanted:
            return
    raise StorageError(
        f"{units[0].file.uri}: ends before part {min(wanted)}, which it had when it was first read; run again"
    )


def _split_rows(found: Iterator[Row], units: Pass, start: int) -> Iterator[tuple[Unit, list[Row]]]:
    for unit in units:
        assert isinstance(unit.slice, Rows)
        deque(islice(found, unit.slice.start - start), maxlen=0)  # of units that are done
        start = unit.slice.stop
        yield unit, list(islice(found, start - unit.slice.start))
