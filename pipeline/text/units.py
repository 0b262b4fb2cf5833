"""A unit's documents -> one PACKS row: tokens, cut into windows, laid out in packs."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.schema import DOCUMENT_RECORD, packs_schema
from pipeline.text.packing import pack
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import Window, WindowPolicy

TEXTS_AT_A_TIME = (
    256  # texts tokenized per call: bounds what sentencepiece holds, large enough to cost nothing
)


@dataclass(frozen=True, slots=True)
class Packer:
    """All that turns text into packs, loaded once per worker process."""

    tokenizer: Tokenizer
    policy: WindowPolicy
    budget: int  # tokens in a pack
    block_size: int

    def packs(self, unit: str, documents: pa.Table) -> pa.Table:
        """DOCUMENTS -> PACKS, one row. Documents that can't be labelled stay in, with their reason and no window."""
        records, tokens = self._tokenize(documents)
        windows = [
            (index, ordinal, window)
            for index, ids in enumerate(tokens)
            if ids is not None
            for ordinal, window in enumerate(self.policy.windows(len(ids)))
        ]
        packs = pack(
            [w.n_tokens for *_, w in windows], budget=self.budget, block_size=self.block_size
        )
        ordered = [windows[i] for indices in packs for i in indices]
        token_type = pa.uint16() if self.tokenizer.vocab_size <= 2**16 else pa.int32()
        return pa.Table.from_arrays(
            [
                pa.array([unit], pa.string()),
                pa.array([records], pa.list_(DOCUMENT_RECORD)),
                _one_list(self._flat(ordered, tokens, token_type.to_pandas_dtype()), token_type),
                _one_list([window.n_tokens for *_, window in ordered], pa.int32()),
                _one_list([index for index, *_ in ordered], pa.int32()),
                _one_list([ordinal for _, ordinal, _ in ordered], pa.int32()),
                _one_list([len(indices) for indices in packs], pa.int32()),
            ],
            schema=packs_schema(token_type),
        )

    def _tokenize(
        self, documents: pa.Table
    ) -> tuple[list[dict[str, Any]], list[npt.NDArray[np.integer[Any]] | None]]:
        records: list[dict[str, Any]] = []
        tokens: list[npt.NDArray[np.integer[Any]] | None] = []
        for batch in documents.to_batches(max_chunksize=TEXTS_AT_A_TIME):
            rows = batch.to_pylist()
            texts = [row["text"] for row in rows if row["text"] is not None]
            encoded = iter(self.tokenizer.encode(texts))
            for row in rows:
                ids = None if row["text"] is None else next(encoded)
                failure = _failure(row, ids)
                records.append(self._record(row | failure, None if failure else ids))
                tokens.append(None if failure else ids)
        return records, tokens

    def _record(
        self, row: dict[str, Any], ids: npt.NDArray[np.integer[Any]] | None
    ) -> dict[str, Any]:
        text = row.pop("text")
        if ids is None:
            return row
        return row | {
            "content_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "n_tokens": len(ids),
            "n_windows": len(self.policy.windows(len(ids))),
            "truncated": self.policy.truncates(len(ids)),
        }

    def _flat(
        self,
        ordered: list[tuple[int, int, Window]],
        tokens: list[npt.NDArray[np.integer[Any]] | None],
        dtype: Any,
    ) -> npt.NDArray[np.integer[Any]]:
        flat = np.empty(sum(window.n_tokens for *_, window in ordered), dtype)
        at = 0
        for index, _, window in ordered:
            ids = tokens[index]
            assert ids is not None
            body = [ids[start:stop] for start, stop in window.spans]
            flat[at : at + window.n_tokens] = np.concatenate(
                [[self.tokenizer.cls_id], *body, [self.tokenizer.sep_id]]
            )
            at += window.n_tokens
        return flat


NULL_TEXT = {"stage": "read", "reason": "null_text", "message": "the text is null"}
EMPTY_TEXT = {"stage": "tokenize", "reason": "empty_text", "message": "the text has no tokens"}


def _failure(row: dict[str, Any], ids: npt.NDArray[np.integer[Any]] | None) -> dict[str, Any]:
    """Why a document can't be labelled; empty if it can."""
    if row["reason"]:
        return {name: row[name] for name in ("stage", "reason", "message")}
    if ids is None:
        return NULL_TEXT
    return {} if len(ids) and not row["text"].isspace() else EMPTY_TEXT


def _one_list(values: Any, value_type: pa.DataType) -> pa.ListArray:
    flat = pa.array(values, value_type)
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)
