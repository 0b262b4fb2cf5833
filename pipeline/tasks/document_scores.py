"""A unit's LOGITS row, as numpy; and windows that become documents again.

Shapes: N documents, W windows, L outputs, and for heads that look at every token T tokens of all windows, D tokens of
all documents.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.schema import only_list
from pipeline.terms import Aggregation

Ints = npt.NDArray[np.int32]
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Windows:
    """What is known of a unit's W windows, one entry each, in the order of their packs: arrays [W].

    `tokens` counts each window's, `documents` says which document it is of, and `ordinals` which of that's windows.
    """

    tokens: Ints
    documents: Ints
    ordinals: Ints

    @classmethod
    def of(cls, row: pa.Table) -> Self:
        """Takes them from a unit's LOGITS row, without a copy."""
        return cls(*(only_list(row, f"window_{n}") for n in ("tokens", "documents", "ordinals")))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is known of a unit's tokens, for heads that look at each."""

    windows: Windows
    questions_W: Ints
    first_W: Ints  # of each window, its first token
    logits_TL: _Floats
    positions_T: Ints  # which of its document's tokens it is; -1 for others
    texts_N: list[str | None]
    first_N: Ints  # of each document, its first token
    count_N: Ints
    starts_D: Ints  # characters [start, stop) of the text
    stops_D: Ints

    @classmethod
    def of(cls, row: pa.Table) -> Self:
        """Takes them from a unit's LOGITS row, which has LOCATED_FIELDS."""
        windows, count_N = Windows.of(row), _document_tokens(row)
        return cls(
            windows=windows,
            questions_W=only_list(row, "window_questions"),
            first_W=_firsts(windows.tokens),
            logits_TL=logits_of(row, len(only_list(row, "positions"))),
            positions_T=only_list(row, "positions"),
            texts_N=row["texts"].chunk(0).flatten().to_pylist(),
            first_N=_firsts(count_N),
            count_N=count_N,
            starts_D=only_list(row, "token_starts"),
            stops_D=only_list(row, "token_stops"),
        )

    def window(self, number: int) -> slice:
        """Gives a window's tokens among the T of all windows."""
        first = self.first_W[number]
        return slice(first, first + self.windows.tokens[number])

    def document(self, number: int) -> slice:
        """Gives a document's tokens among the D of all documents."""
        return slice(self.first_N[number], self.first_N[number] + self.count_N[number])

    def scored(self) -> set[int]:
        """Finds the documents that have windows, all of whose logits are finite."""
        finite_T = np.asarray(np.isfinite(self.logits_TL).all(1))
        whole_W = [finite_T[self.window(number)].all() for number in range(len(self.first_W))]
        failed = self.windows.documents[np.logical_not(whole_W)]
        return set(self.windows.documents.tolist()) - set(failed.tolist())


def logits_of(row: pa.Table, rows: int) -> _Floats:
    """Shapes LOGITS' flat list into a matrix [rows, L]; L is 1 where there are none."""
    flat: _Floats = only_list(row, "logits")
    return flat.reshape(rows, len(flat) // rows if rows else 1)


def aggregated(row: pa.Table, how: Aggregation) -> pa.ListArray:
    """Aggregates LOGITS of a row per window to a list a document; null where one is not finite, or there is none."""
    windows = Windows.of(row)
    n_documents = len(row["documents"].chunk(0).flatten())
    logits_NL = aggregate(windows, logits_of(row, len(windows.tokens)), n_documents, how)
    finite_N = np.asarray(np.isfinite(logits_NL).all(1))
    lengths_N = np.where(finite_N, logits_NL.shape[1], 0)
    return lists(pa.array(logits_NL[finite_N].ravel()), lengths_N, ~finite_N)


def aggregate(windows: Windows, logits_WL: _Floats, n_documents: int, how: Aggregation) -> _Floats:
    """Aggregates window logits to document logits [N, L], in float64 and window order; NaN where there is no window.

    `mean` weighs windows by their tokens, `max` is per output, `first` takes the first window.
    """
    order = np.lexsort((windows.ordinals, windows.documents))
    documents_W = windows.documents[order]
    tokens_W1 = windows.tokens[order].astype(np.float64)[:, None]
    logits_WL = logits_WL[order].astype(np.float64)
    present, first = np.unique(documents_W, return_index=True)
    logits_NL = np.full((n_documents, logits_WL.shape[1]), np.nan)
    if how == "first":
        logits_NL[present] = logits_WL[first]
    elif how == "max":
        logits_NL[present] = np.maximum.reduceat(logits_WL, first)
    else:
        total = np.add.reduceat(logits_WL * tokens_W1, first)
        logits_NL[present] = total / np.add.reduceat(tokens_W1, first)
    return logits_NL.astype(np.float32)


def matrix(outputs: pa.ListArray) -> npt.NDArray[np.float64]:
    """Shapes N lists, at least one and all of one length, into an array [N, L]."""
    return np.asarray(outputs.flatten().to_numpy().reshape(len(outputs), -1), np.float64)


def lists(values: pa.Array, lengths: npt.NDArray[Any], nulls: npt.NDArray[np.bool_] | None = None) -> pa.ListArray:
    """Cuts values that lie end to end into lists of the given lengths; null where `nulls` says so."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, mask=None if nulls is None else pa.array(nulls))


def _document_tokens(row: pa.Table) -> Ints:
    counts = row["documents"].chunk(0).flatten().field("n_tokens").fill_null(0)
    return np.asarray(counts.to_numpy(zero_copy_only=False), np.int32)


def _firsts(counts: Ints) -> Ints:
    return np.asarray(np.cumsum(counts) - counts, np.int32)
