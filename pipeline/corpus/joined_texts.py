"""The text of a document that lies in several columns: its parts in order, with a separator between them.

Null and empty parts are left out, or a document without an abstract would have a gap where others have one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.corpus.large_texts import LARGE_BYTES
from pipeline.corpus.slices import Reading

TEXTS = (str, bytes, pa.Buffer, type(None))  # a union would be made anew for each document


@dataclass(frozen=True, slots=True)
class NoText:
    """Why the values of a document's columns make no text, as an error row says it."""

    reason: str
    message: str


def joined_text(reading: Reading, values: Sequence[Any]) -> str | bytes | pa.Buffer | NoText | None:
    """The text out of the values of the text columns, in order: strings, or their UTF-8; None where all are null."""
    for column, value in zip(reading.text_columns, values, strict=True):
        if not isinstance(value, TEXTS):
            return NoText("not_a_string", f"column {column!r}: expected a string, found {type(value).__name__}")
    if len(values) == 1:
        return values[0]
    parts: list[Any] = [value for value in values if value]
    if len(parts) < 2:
        one: str | bytes | None = next(iter(parts), next((value for value in values if value is not None), None))
        return one
    if isinstance(parts[0], str):
        return reading.text_separator.join(parts)
    separator = reading.text_separator.encode()
    n_bytes = sum(map(len, parts)) + (len(parts) - 1) * len(separator)
    if n_bytes > reading.max_document_bytes:  # before there are two copies of it
        return too_large(reading)
    text = separator.join(parts)
    return pa.py_buffer(text) if n_bytes > LARGE_BYTES else text


def too_large(reading: Reading) -> NoText:
    """Why a document of more than `max_document_bytes` isn't read."""
    return NoText(
        "too_large", f"expected at most {reading.max_document_bytes:,} bytes; split the document, or allow more"
    )
