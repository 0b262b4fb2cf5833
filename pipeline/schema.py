"""Arrow schemas of every hand-off, in the order in which data passes them.

reader -> DOCUMENTS -> tokenizer -> PACKS -> encoder -> LOGITS -> task -> FRAGMENT (stored)
FRAGMENT -> PREDICTIONS and ERRORS (published)

PACKS and LOGITS hold one row per unit, so that Ray can neither split a unit nor mix two. Types are those that every
warehouse reads: signed integers, plain strings, doubles.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"  # how hive paths spell null, in the corpus and in the table


def column(name: str, type_: pa.DataType, meaning: str, *, nullable: bool = True) -> pa.Field:
    """Makes a column that is published; every snapshot's manifest has its meaning, and no data file."""
    return pa.field(name, type_, nullable, {"meaning": meaning})


def described(columns: Iterable[pa.Field]) -> list[dict[str, str]]:
    """Gives name, Arrow type and meaning of published columns, as a manifest has them."""
    return [
        {
            "name": field.name,
            "type": str(field.type),
            "meaning": field.metadata[b"meaning"].decode(),
        }
        for field in columns
    ]


# Why a document has no prediction; null in all three where it has one.
ERROR_FIELDS = [
    column("stage", pa.string(), "where it failed: read, tokenize or predict"),
    column("reason", pa.string(), "why, as a word to group by"),
    column("message", pa.string(), "why, for people; never text of the document"),
]

DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("position", pa.int64(), nullable=False),  # row in the file; in plain JSON Lines of UTF-8 its byte
        pa.field("text", pa.string()),
        *ERROR_FIELDS,
    ]
)

# Of DOCUMENTS and all that comes of them, where the job carries columns of the corpus: a struct of them.
CARRIED = "carried"

# One document on its way: everything but its text.
DOCUMENT_RECORD = pa.struct(
    [
        pa.field("id", pa.string()),
        pa.field("position", pa.int64()),
        pa.field("content_sha256", pa.string()),
        pa.field("n_tokens", pa.int32()),  # before truncation, without [CLS] and [SEP]
        pa.field("n_windows", pa.int32()),
        pa.field("truncated", pa.bool_()),
        *ERROR_FIELDS,
    ]
)


def with_carried(fields: Iterable[pa.Field], source: pa.Schema) -> pa.Schema:
    """Gives a schema of the fields and of CARRIED, if `source` has it."""
    return pa.schema([*fields, *([source.field(CARRIED)] if CARRIED in source.names else [])])


def append_carried(rows: pa.Table, source: pa.Table) -> pa.Table:
    """Appends CARRIED of `source`, whose rows are the same documents, if it has it."""
    if CARRIED not in source.schema.names:
        return rows
    return rows.append_column(source.schema.field(CARRIED), source[CARRIED])


# What a task needs beside the tokens that says where in a text something is. Its logits are one row per token.
LOCATED_FIELDS = [
    pa.field("texts", pa.list_(pa.string()), nullable=False),  # null where there is no window
    # of the documents' own tokens end to end: the characters that each stands for (pipeline/text/offsets.py)
    pa.field("token_starts", pa.list_(pa.int32()), nullable=False),
    pa.field("token_stops", pa.list_(pa.int32()), nullable=False),
    # of each of `tokens`: which of its document's tokens it is; -1 for [CLS], [SEP] and a question's
    pa.field("positions", pa.list_(pa.int32()), nullable=False),
    pa.field("window_questions", pa.list_(pa.int32()), nullable=False),  # 0 where there is none
]


def packs_schema(
    token_type: pa.DataType, *, located: bool = False, document: pa.StructType = DOCUMENT_RECORD
) -> pa.Schema:
    """Gives the schema of a tokenized unit: one row, its windows in the order of their packs.

    Args:
        token_type: uint16 where the vocabulary fits.
        located: with LOCATED_FIELDS.
        document: a DOCUMENT_RECORD, maybe with CARRIED.
    """
    return pa.schema(
        [
            pa.field("unit", pa.string(), nullable=False),
            pa.field("documents", pa.list_(document)),  # null: the unit has its fragment already
            pa.field("tokens", pa.list_(token_type), nullable=False),  # all windows end to end
            pa.field("window_tokens", pa.list_(pa.int32()), nullable=False),  # length of each window
            pa.field("window_documents", pa.list_(pa.int32()), nullable=False),  # index into documents
            pa.field(
                "window_ordinals", pa.list_(pa.int32()), nullable=False
            ),  # first window of its document, second, …
            pa.field("pack_windows", pa.list_(pa.int32()), nullable=False),  # number of windows in each pack
            *(LOCATED_FIELDS if located else []),
        ]
    )


# Beside a row of PACKS: for which of the run's tables it is, and their ids of the unit; null of those that have it by
# now. One row goes to all tables whose packs are the same.
ADDRESSED = [
    pa.field("tables", pa.list_(pa.int32()), nullable=False),
    pa.field("units", pa.list_(pa.string()), nullable=False),
]
TABLE = pa.field("table", pa.int32(), nullable=False)  # beside a row of LOGITS: the one table that it is for

# Beside a row of PACKS and one of LOGITS: where the time of its unit went so far, in seconds, and on what.
MEASURES = pa.field(
    "measures",
    pa.struct(
        [
            pa.field("read_s", pa.float64()),
            pa.field("text_s", pa.float64()),  # tokens, windows, packs
            pa.field("wait_s", pa.float64()),  # of the encoder's actor, before it had the unit's packs
            pa.field("encode_s", pa.float64()),
            pa.field("padding", pa.int64()),  # tokens that were computed beside the windows' own
            pa.field("actor", pa.string()),  # host and process
            pa.field("device", pa.string()),
        ]
    ),
    nullable=False,
)


def addressed(packs: pa.Table, tables: list[int], units: list[str | None], measures: dict[str, Any]) -> pa.Table:
    """Adds ADDRESSED to a row of PACKS, and MEASURES as far as they are known."""
    for field, value in zip([*ADDRESSED, MEASURES], (tables, units, measures), strict=True):
        packs = packs.append_column(field, pa.array([value], field.type))
    return packs


def packs_of_finished_unit(unit: str) -> pa.Table:
    """Makes PACKS of a unit that an earlier attempt has labelled: one row like any other, and no work."""
    schema = packs_schema(pa.uint16())
    nothing: dict[str, Any] = {name: [] for name in schema.names}
    row = nothing | {"unit": unit, "documents": None}
    return pa.Table.from_pylist([row], schema=schema)


# and LOCATED_FIELDS, where PACKS had them
LOGITS = pa.schema(
    [
        pa.field("unit", pa.string(), nullable=False),
        pa.field("documents", pa.list_(DOCUMENT_RECORD)),
        pa.field("window_tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("window_documents", pa.list_(pa.int32()), nullable=False),
        pa.field("window_ordinals", pa.list_(pa.int32()), nullable=False),
        # windows × outputs or, of heads that look at every token, tokens × outputs; row-major
        pa.field("logits", pa.list_(pa.float32()), nullable=False),
    ]
)

DOCUMENT_LOGITS = pa.field("logits", pa.list_(pa.float32()))


def fragment_schema(output: pa.Field) -> pa.Schema:
    """Gives the schema of a unit's results: documents, and `output`, what the task makes of their logits.

    No threshold is in them, so that a new one needs no encoder. A fragment of a job that carries columns of the corpus
    has CARRIED as its last column.
    """
    return pa.schema([*DOCUMENT_RECORD, output])


ID = column(
    "id",
    pa.string(),
    "the corpus's id of the document; without an id column, or where it could not be read, its file and position",
)
SOURCE_FIELDS = [
    column("source_uri", pa.string(), "the document's file", nullable=False),
    column(
        "source_position",
        pa.int64(),
        "its row in the file, from 0; in plain JSON Lines the first byte of its line",
        nullable=False,
    ),
]
SCORING_KEY = column(
    "scoring_key",
    pa.string(),
    "digest of all that gave the scores: weights, tokenizer, windows, dtype",
    nullable=False,
)
DECISION_KEY = column(
    "decision_key",
    pa.string(),
    "digest of all that made the task's columns of the scores: labels, thresholds, temperature",
    nullable=False,
)


def hive_key(name: str) -> pa.Field:
    """Makes the column for a key of the corpus's paths: in the table or, for a partition, in its paths."""
    return column(name, pa.string(), "hive key in the paths of the corpus; null where a path has none")


def corpus_column(name: str, type_: pa.DataType) -> pa.Field:
    """Makes the column that carries one of the corpus."""
    return column(name, type_, "column of the corpus")


def predictions_schema(decisions: list[pa.Field], carried: list[pa.Field]) -> pa.Schema:
    """Gives the schema of the published table.

    Args:
        decisions: the task's columns.
        carried: what comes from the corpus and is no partition, its columns and hive keys; they come last.
    """
    return pa.schema(
        [
            ID.with_nullable(False),
            *SOURCE_FIELDS,
            column("content_sha256", pa.string(), "SHA-256, in hex, of the text as UTF-8", nullable=False),
            *decisions,
            column("n_tokens", pa.int32(), "tokens of the document, without [CLS] and [SEP]", nullable=False),
            column("n_windows", pa.int32(), "windows that were computed, of all questions", nullable=False),
            column("truncated", pa.bool_(), "whether some of its tokens are in no window", nullable=False),
            SCORING_KEY,
            DECISION_KEY,
            *carried,
        ]
    )


def errors_schema(carried: list[pa.Field]) -> pa.Schema:
    """Gives the schema of the published errors, one row per document without a prediction; `carried` as above."""
    return pa.schema(
        [
            ID,
            *SOURCE_FIELDS,
            *(field.with_nullable(False) for field in ERROR_FIELDS),
            SCORING_KEY,
            *carried,
        ]
    )


def only_list(row: pa.Table, column: str) -> Any:
    """Takes the one list of a one-row table as a numpy array, without a copy."""
    assert row.num_rows == 1, f"expected one unit, got {row.num_rows}"
    return row[column].chunk(0).flatten().to_numpy(zero_copy_only=True)
