"""A unit's documents -> one PACKS row: tokens, cut into windows, laid out in packs.

Questions are asked of every document: then each window is [CLS] question [SEP] part of the document [SEP].
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.schema import packs_schema
from pipeline.text.offsets import Located
from pipeline.text.packing import pack
from pipeline.text.records import EMPTY_TEXT, TEXTS_AT_A_TIME, failure_of, plain_rows, records_table
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.utf8_text import Text, sha256, texts_of
from pipeline.text.windows import Window, WindowPolicy

_Ints = npt.NDArray[np.integer[Any]]
NONE = np.empty(0, np.int32)


class Placed(NamedTuple):
    """A window of a unit."""

    document: int
    question: int
    ordinal: int
    window: Window


@dataclass(frozen=True, slots=True)
class Packer:
    """All that turns text into packs, loaded once per worker process."""

    tokenizer: Tokenizer
    policy: WindowPolicy
    budget: int  # tokens in a pack
    block_size: int
    located: bool = False  # whether PACKS has LOCATED_FIELDS
    questions: tuple[str, ...] = ()

    def packs(self, unit: str, documents: pa.Table) -> pa.Table:
        """Turns DOCUMENTS into PACKS, one row; what can't be labelled stays in, with its reason and no window.

        Raises ValueError if a question leaves no room for the document.
        """
        questions = self._questions()
        policies = [replace(self.policy, question_tokens=len(ids)) for ids in questions]
        records, tokens = self._tokenize(documents, policies)
        windows = [
            Placed(index, question, ordinal, window)
            for index, located in enumerate(tokens)
            if located is not None
            for question, policy in enumerate(policies)
            for ordinal, window in enumerate(policy.windows(len(located.ids)))
        ]
        packs = pack(
            [placed.window.n_tokens for placed in windows],
            budget=self.budget,
            block_size=self.block_size,
        )
        ordered = [windows[i] for indices in packs for i in indices]
        token_type = pa.uint16() if self.tokenizer.vocab_size <= 2**16 else pa.int32()
        flat = self._flat(ordered, questions, tokens, token_type.to_pandas_dtype())
        described = records_table(records, documents).to_struct_array().combine_chunks()
        columns = [
            pa.array([unit], pa.string()),
            _one_list(described, described.type),
            _one_list(flat, token_type),
            _one_list([placed.window.n_tokens for placed in ordered], pa.int32()),
            _one_list([placed.document for placed in ordered], pa.int32()),
            _one_list([placed.ordinal for placed in ordered], pa.int32()),
            _one_list([len(indices) for indices in packs], pa.int32()),
        ]
        if self.located:
            columns += _located_columns(documents, ordered, tokens)
        return pa.Table.from_arrays(
            columns, schema=packs_schema(token_type, located=self.located, document=described.type)
        )

    def _questions(self) -> list[_Ints]:
        """Each question's ids and the [SEP] after it; one empty one where nothing is asked."""
        encoded = self.tokenizer.encode(list(self.questions))
        return [np.append(ids, self.tokenizer.sep_id) for ids in encoded] or [NONE]

    def _tokenize(
        self, documents: pa.Table, policies: list[WindowPolicy]
    ) -> tuple[list[dict[str, Any]], list[Located | None]]:
        records: list[dict[str, Any]] = []
        tokens: list[Located | None] = []
        for batch in documents.to_batches(max_chunksize=TEXTS_AT_A_TIME):
            texts = texts_of(batch.column("text"))
            encoded = iter(self._encode([text for text in texts if text is not None]))
            rows = plain_rows(batch)
            for row, text in zip(rows, texts, strict=True):
                located = None if text is None else next(encoded)
                failure = _failure(row, text, located)
                usable = None if failure else located
                records.append(row | failure | _described(text, usable, policies))
                tokens.append(usable)
        return records, tokens

    def _encode(self, texts: list[Text]) -> list[Located]:
        """Without characters where the task does not ask for them: they take time."""
        if self.located:
            return self.tokenizer.locate(texts)
        return [Located(ids, NONE, NONE) for ids in self.tokenizer.encode(texts)]

    def _flat(
        self,
        ordered: list[Placed],
        questions: list[_Ints],
        tokens: list[Located | None],
        dtype: Any,
    ) -> _Ints:
        flat = np.empty(sum(placed.window.n_tokens for placed in ordered), dtype)
        at = 0
        for index, question, _, window in ordered:
            located = tokens[index]
            assert located is not None
            body = [located.ids[start:stop] for start, stop in window.spans]
            flat[at : at + window.n_tokens] = np.concatenate(
                [[self.tokenizer.cls_id], questions[question], *body, [self.tokenizer.sep_id]]
            )
            at += window.n_tokens
        return flat


def _described(text: Text | None, located: Located | None, policies: list[WindowPolicy]) -> dict[str, Any]:
    if text is None or located is None:
        return {}
    n_tokens = len(located.ids)
    return {
        "content_sha256": sha256(text),
        "n_tokens": n_tokens,
        "n_windows": sum(len(policy.windows(n_tokens)) for policy in policies),
        "truncated": any(policy.truncates(n_tokens) for policy in policies),
    }


def _located_columns(documents: pa.Table, ordered: list[Placed], tokens: list[Located | None]) -> list[pa.Array]:
    """LOCATED_FIELDS."""
    is_read = pa.array([located is not None for located in tokens], pa.bool_())
    texts = documents["text"].combine_chunks()
    texts = pa.compute.if_else(is_read, texts, pa.scalar(None, pa.string()))
    starts = [located.starts for located in tokens if located]
    stops = [located.stops for located in tokens if located]
    positions = [_positions(placed.window) for placed in ordered]
    return [
        _one_list(texts, pa.string()),
        *(_one_list(np.concatenate([NONE, *x]), pa.int32()) for x in (starts, stops, positions)),
        _one_list([placed.question for placed in ordered], pa.int32()),
    ]


def _positions(window: Window) -> npt.NDArray[np.int32]:
    """Of each token of a window: which of its document's it is, or -1."""
    body = [np.arange(start, stop, dtype=np.int32) for start, stop in window.spans]
    before = np.full(1 + window.question_tokens, -1, np.int32)
    return np.concatenate([before, *body, np.full(1, -1, np.int32)])


def _failure(row: dict[str, Any], text: Text | None, located: Located | None) -> dict[str, Any]:
    """Why a document can't be labelled; empty if it can."""
    has_no_tokens = located is not None and not len(located.ids)
    return failure_of(row, text) or (EMPTY_TEXT if has_no_tokens else {})


def _one_list(values: Any, value_type: pa.DataType) -> pa.ListArray:
    flat = pa.array(values, value_type)
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)
