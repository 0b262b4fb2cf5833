"""What becomes of one document: a row of DOCUMENTS, with its text or with the reason why it can't be read.

A document's position is its row in the file (in an array its element), or its line's first byte in plain JSON Lines of
UTF-8, where rows can't be counted without reading what lies before. Without an id column the id is `<file
URI>#<position>`.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import pyarrow as pa

from pipeline.corpus.carried import Carry
from pipeline.corpus.column_paths import ColumnPathError, value_at
from pipeline.corpus.ids import NoId, id_text
from pipeline.corpus.joined_texts import NoText, joined_text, too_large
from pipeline.corpus.large_texts import large_text
from pipeline.corpus.slices import Unit
from pipeline.errors import CorpusError
from pipeline.schema import CARRIED, DOCUMENTS

Row = dict[str, Any]

DAMAGED = "damaged_file"
DOCUMENT_BYTES = 512  # what a document weighs beside its text, or a unit of empty ones would fill the memory


def weight(row: Row) -> int:
    """About what a document takes in memory, in bytes."""
    return DOCUMENT_BYTES + sum(_bytes(row.get(name) or "") for name in ("id", "text"))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def record_row(unit: Unit, position: int, record: Row) -> Row:
    """The row of a record, whose names are its columns.

    Where it is Repeating, what it has more than once is an error for the columns that are read.
    """
    reading = unit.reading
    try:
        texts = [value_at(record, column) for column in reading.text_columns]
        id_ = value_at(record, reading.id_column) if reading.id_column else None
        extra = dict(_values(record, reading.extra_columns))
        carried = dict(_values(record, reading.carried.names)) if reading.carried else {}
    except ColumnPathError as error:
        return unreadable_row(unit, position, error.reason, str(error))
    row = identified_row(unit, position, id_, joined_text(reading, texts))
    row |= {"values": extra} if extra else {}
    return carrying_row(unit, row, reading.carried.of_record(carried)) if reading.carried else row


def carrying_row(unit: Unit, row: Row, carry: Carry) -> Row:
    """The row of a document with what it carries; one with a value that does not fit can't be read."""
    values, misfit = carry
    if misfit and not row.get("reason"):
        row = unreadable_row(unit, row["position"], "wrong_type", misfit, row["id"])
    return row | {CARRIED: values}


def _values(record: Row, columns: Iterable[str]) -> Iterator[tuple[str, object]]:
    for column in columns:
        try:
            yield column, value_at(record, column)
        except ColumnPathError as error:  # perhaps the path of the file says it
            if not error.is_absent:
                raise


def identified_row(unit: Unit, position: int, id_value: object, text: str | bytes | pa.Buffer | NoText | None) -> Row:
    """The row of a document of which the id column holds `id_value`; see ids.py for what identifies."""
    if not unit.reading.id_column:
        return text_row(unit, position, None, text)
    id_ = id_text(id_value)
    if isinstance(id_, NoId):
        return unreadable_row(unit, position, id_.reason, f"column {unit.reading.id_column!r} {id_.message}")
    return text_row(unit, position, id_, text)


def text_row(unit: Unit, position: int, id_: str | None, text: str | bytes | pa.Buffer | NoText | None) -> Row:
    """The row of a document with its id, or None for its pointer.

    `text` is a string, its UTF-8, None, or why there is none.
    """
    if isinstance(text, NoText):
        return unreadable_row(unit, position, text.reason, text.message, id_)
    try:
        if _n_bytes(text) > unit.reading.max_document_bytes:
            return too_large_row(unit, position, id_)
        return _row(unit, position, id_, text=_decoded(text))
    except UnicodeError as error:
        message = f"at {error.args[2]}: {error.args[4]}"
        return unreadable_row(unit, position, "invalid_utf8", message, id_)


def _n_bytes(text: str | bytes | pa.Buffer | None) -> int:
    """Raises UnicodeError for a lone surrogate: JSON and CSV can bring them."""
    if isinstance(text, str):
        return _bytes(text)
    return 0 if text is None else len(text)


def _decoded(text: str | bytes | pa.Buffer | None) -> str | pa.StringArray | None:
    """Raises UnicodeError."""
    if isinstance(text, bytes):
        return text.decode()
    return large_text(text) if isinstance(text, pa.Buffer) else text


def too_large_row(unit: Unit, position: int, id_: str | None = None) -> Row:
    """The row of a document above the unit's `max_document_bytes`."""
    return text_row(unit, position, id_, too_large(unit.reading))


def damaged_row(unit: Unit, position: int, error: CorpusError, id_: str | None = None) -> Row:
    """The row that stands for a file's rest, from `position` on."""
    message = f"from here on: {error}" if position else str(error)
    return unreadable_row(unit, position, DAMAGED, message, id_)


def unreadable_row(unit: Unit, position: int, reason: str, message: str, id_: str | None = None) -> Row:
    """The row of what can't be read, with one of the reasons of docs/faults.md."""
    return _row(unit, position, id_, stage="read", reason=reason, message=message)


def _row(unit: Unit, position: int, id_: str | None, **fields: object) -> Row:
    # a document that can't be read keeps its pointer as its id, so that it can be found
    return {"id": f"{unit.file.uri}#{position}" if id_ is None else id_, "position": position} | fields


def with_python_text(row: Row) -> Row:
    """The row with a str for its text."""
    text = row.get("text")
    return row | {"text": text[0].as_py()} if isinstance(text, pa.StringArray) else row


def documents_table(rows: list[Row], carried: pa.StructType | None = None) -> pa.Table:
    """Rows as DOCUMENTS, without a copy of a large text; with CARRIED, where the corpus's columns are of that type."""
    documents = _without_carried(rows)
    if carried is None:
        return documents
    values = pa.array([row.get(CARRIED) for row in rows], carried)
    return documents.append_column(pa.field(CARRIED, carried), values)


def _without_carried(rows: list[Row]) -> pa.Table:
    if pa.StringArray not in {type(row.get("text")) for row in rows}:
        return pa.Table.from_pylist(rows, schema=DOCUMENTS)
    return pa.concat_tables(_tables(rows))


def _tables(rows: list[Row]) -> Iterator[pa.Table]:
    text = DOCUMENTS.get_field_index("text")
    for is_large, neighbours in groupby(rows, lambda row: isinstance(row.get("text"), pa.StringArray)):
        if not is_large:
            yield pa.Table.from_pylist(list(neighbours), schema=DOCUMENTS)
            continue
        for row in neighbours:
            others = pa.Table.from_pylist([row | {"text": None}], schema=DOCUMENTS)
            yield others.set_column(text, DOCUMENTS.field(text), row["text"])
