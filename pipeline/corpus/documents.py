"""A unit -> its documents, one row each, or a row with a reason for what can't be read.

What a damaged file still gives is read. The rest leaves as one row for each document of it, or as one for all where
nobody can tell how many they are. A document above the unit's `max_document_bytes` leaves too, without being held
beyond what its format's decoder holds: Parquet tells how large a value is only when its page is decoded.
"""

import itertools
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import BinaryIO

from pipeline.corpus.deleted_rows import read_deleted
from pipeline.corpus.formats import FORMATS
from pipeline.corpus.rows import DAMAGED, Row, unreadable_row, with_python_text
from pipeline.corpus.slices import Unit, Unreadable
from pipeline.storage.objects import Storage

FIRST_RECORDS = 20  # of a file, which tell whether its columns are those that the job names
SET_COLUMNS = "; set corpus.text_column and corpus.id_column"
USELESS = {  # reasons that hold for all of a file, and what to do
    "no_column": SET_COLUMNS,
    "not_an_object": SET_COLUMNS,
    "not_text": "",  # the message says
}


def rows(storage: Storage, unit: Unit) -> Generator[Row]:
    """All documents of a unit, one at a time. Raises SourceChangedError for a file that is not the planned one."""
    with closing(arrow_rows(storage, unit)) as with_large_texts:
        yield from map(with_python_text, with_large_texts)


def arrow_rows(storage: Storage, unit: Unit) -> Generator[Row]:
    """All documents of a unit, one at a time, for `documents_table`.

    A large text is a pa.StringArray of one value and no str. Raises what `rows` raises.
    """
    assert unit.slice.part_number is None, "a part is reached by its stream, in streams.py"
    with storage.open(unit.file.stored) as file, closing(_documents(file, unit)) as documents:
        yield from itertools.islice(_not_deleted(storage, unit, documents), unit.limit)


def _not_deleted(storage: Storage, unit: Unit, documents: Iterator[Row]) -> Iterator[Row]:
    """Those of a lake table's file that the table still has; each keeps its row in the file as its position."""
    lake = unit.file.lake
    if lake is None or not lake.deletes:
        return documents
    deleted = read_deleted(storage, lake.deletes)
    return (row for row in documents if row["position"] not in deleted)


def _documents(file: BinaryIO, unit: Unit) -> Generator[Row]:
    if unit.slice.unreadable:
        return _unreadable_rows(unit, unit.slice.unreadable)
    return FORMATS[unit.file.format].rows(file, unit)


def _unreadable_rows(unit: Unit, slice_: Unreadable) -> Generator[Row]:
    for position in range(slice_.start, slice_.stop):
        yield unreadable_row(unit, position, slice_.reason, slice_.message)


def first_record_problems(storage: Storage, unit: Unit) -> list[str | None]:
    """Look at a unit's first records, before anything starts, for whether the columns are those that the job names.

    Returns what is wrong with each and what to do, or None alone as soon as one has the columns. What is damaged says
    nothing of columns and is left out, so a file of nothing else, or of nothing, gives an empty list.
    """
    problems: list[str | None] = []
    with closing(rows(storage, unit)) as records:
        for row in itertools.islice(records, FIRST_RECORDS):
            reason = row.get("reason")
            if reason == DAMAGED:
                continue
            if reason not in USELESS:
                return [None]
            problems.append(row["message"] + USELESS[reason])
    return problems
