"""Arrow schemas of every hand-off, in the order in which data passes them.

reader -> DOCUMENTS -> tokenizer -> PACKS -> encoder -> LOGITS -> FRAGMENT (stored) -> PREDICTIONS and ERRORS (published)

PACKS and LOGITS hold one row per unit, so that Ray can neither split a unit nor mix two. Types are those that every
warehouse reads: signed integers, plain strings, doubles (notes on each choice: DESIGN.md, section 5, "Tables").
"""

from typing import Any

import pyarrow as pa

HIVE_NULL = (
    "__HIVE_DEFAULT_PARTITION__"  # how hive paths spell null, in the corpus and in the table
)

# What a person says of a document: one label, several of them, or a number.
Label = str | float | int | bool | tuple[str, ...]

# Why a document has no prediction; null in all three where it has one.
ERROR_FIELDS = [
    pa.field("stage", pa.string()),  # read | tokenize | predict
    pa.field("reason", pa.string()),  # a word to group by
    pa.field("message", pa.string()),  # for people; never text of the document
]

DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field(
            "position", pa.int64(), nullable=False
        ),  # row in the file; in plain JSON Lines of UTF-8 its byte
        pa.field("text", pa.string()),
        *ERROR_FIELDS,
    ]
)

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


def packs_schema(token_type: pa.DataType, *, located: bool = False) -> pa.Schema:
    """A unit, tokenized. Windows lie in the order of their packs; `token_type` is uint16 where the vocabulary fits."""
    return pa.schema(
        [
            pa.field("unit", pa.string(), nullable=False),
            pa.field("documents", pa.list_(DOCUMENT_RECORD)),  # null: the unit is done already
            pa.field("tokens", pa.list_(token_type), nullable=False),  # all windows end to end
            pa.field(
                "window_tokens", pa.list_(pa.int32()), nullable=False
            ),  # length of each window
            pa.field(
                "window_documents", pa.list_(pa.int32()), nullable=False
            ),  # index into documents
            pa.field(
                "window_ordinals", pa.list_(pa.int32()), nullable=False
            ),  # first window of its document, second, …
            pa.field(
                "pack_windows", pa.list_(pa.int32()), nullable=False
            ),  # number of windows in each pack
            *(LOCATED_FIELDS if located else []),
        ]
    )


def done_already(unit: str) -> pa.Table:
    """PACKS of a unit that an attempt before this one has labelled: one row like any other, and no work."""
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
    """What a unit leaves behind: what the task makes of a document's logits, before any threshold: a new one needs no encoder."""
    return pa.schema([*DOCUMENT_RECORD, output])


SOURCE_FIELDS = [
    pa.field("source_uri", pa.string(), nullable=False),
    pa.field("source_position", pa.int64(), nullable=False),
]
KEY_FIELDS = [
    pa.field("scoring_key", pa.string(), nullable=False),
    pa.field("decision_key", pa.string(), nullable=False),
]


def predictions_schema(decisions: list[pa.Field], carried: list[str]) -> pa.Schema:
    """The published table: fixed columns, the task's own `decisions`, then the corpus's hive keys that are not partitions."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            *SOURCE_FIELDS,
            pa.field("content_sha256", pa.string(), nullable=False),
            *decisions,
            pa.field("n_tokens", pa.int32(), nullable=False),
            pa.field("n_windows", pa.int32(), nullable=False),
            pa.field("truncated", pa.bool_(), nullable=False),
            *KEY_FIELDS,
            *(pa.field(key, pa.string()) for key in carried),
        ]
    )


def errors_schema(carried: list[str]) -> pa.Schema:
    """The published errors: one row per document without a prediction."""
    return pa.schema(
        [
            pa.field("id", pa.string()),
            *SOURCE_FIELDS,
            *(field.with_nullable(False) for field in ERROR_FIELDS),
            pa.field("scoring_key", pa.string(), nullable=False),
            *(pa.field(key, pa.string()) for key in carried),
        ]
    )


def only_list(table: pa.Table, column: str) -> Any:
    """The one list of a one-row table as a numpy array, without a copy."""
    assert table.num_rows == 1, f"expected one unit, got {table.num_rows}"
    return table[column].chunk(0).flatten().to_numpy(zero_copy_only=True)
