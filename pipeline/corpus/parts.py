"""Where a stream of documents is cut: a function of the documents alone, so that every reading cuts alike."""

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.corpus.units import DOCUMENT_BYTES

Row = dict[str, Any]


def numbered(rows: Iterable[Row], text_bytes: int) -> Iterator[tuple[int, Row]]:
    """Each document with the number of its part: a part ends with the document that makes it weigh `text_bytes`."""
    number = held = 0
    for row in rows:
        yield number, row
        held += weight(row)
        if held >= text_bytes:
            number, held = number + 1, 0


def weight(row: Row) -> int:
    """About what a document takes in memory."""
    return DOCUMENT_BYTES + sum(_bytes(row.get(name) or "") for name in ("id", "text"))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
