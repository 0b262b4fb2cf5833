"""What a unit's documents are, without their texts: which they are, what they say by digest, which can't be labelled.

It takes no tokenizer to tell. A text that has no tokens although it is not blank is told apart later, by the packer.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.schema import CARRIED, DOCUMENT_RECORD, append_carried
from pipeline.text.utf8_text import Text, sha256, texts_of

TEXTS_AT_A_TIME = 256  # texts held as Python strings
NULL_TEXT = {"stage": "read", "reason": "null_text", "message": "the text is null"}
EMPTY_TEXT = {"stage": "tokenize", "reason": "empty_text", "message": "the text has no tokens"}


def records_of(documents: pa.Table) -> pa.Table:
    """Turns DOCUMENTS into a table of DOCUMENT_RECORD: a digest or a reason for each, and nothing of tokens.

    CARRIED goes with it.
    """
    records: list[dict[str, Any]] = []
    for batch in documents.to_batches(max_chunksize=TEXTS_AT_A_TIME):
        rows = plain_rows(batch)
        for row, text in zip(rows, texts_of(batch.column("text")), strict=True):
            failure = failure_of(row, text)
            digest = None if failure or text is None else sha256(text)
            records.append(row | failure | {"content_sha256": digest})
    return records_table(records, documents)


def plain_rows(documents: pa.RecordBatch) -> list[dict[str, Any]]:
    """Gives DOCUMENTS as Python values, without the texts and CARRIED: not every value of Arrow is one of Python."""
    rows: list[dict[str, Any]] = documents.drop_columns(
        [name for name in ("text", CARRIED) if name in documents.schema.names]
    ).to_pylist()
    return rows


def records_table(records: list[dict[str, Any]], documents: pa.Table) -> pa.Table:
    """Makes a table of DOCUMENT_RECORD of Python values, with the documents' CARRIED, if they have it."""
    return append_carried(pa.Table.from_pylist(records, schema=pa.schema(list(DOCUMENT_RECORD))), documents)


def failure_of(row: Mapping[str, Any], text: Text | None) -> dict[str, Any]:
    """Says why a document can't be labelled, as ERROR_FIELDS; empty if nothing is known against it."""
    if row["reason"]:
        return {name: row[name] for name in ("stage", "reason", "message")}
    if text is None:
        return NULL_TEXT
    return EMPTY_TEXT if not len(text) or text.isspace() else {}
