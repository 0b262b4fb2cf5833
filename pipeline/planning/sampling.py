"""Takes a sample of what a plan lacks, and counts in it what a run would compute."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.corpus.rows import Row, documents_table, with_python_text
from pipeline.planning.plan import Plan
from pipeline.planning.sample_places import sample_frame
from pipeline.planning.sample_reading import SECONDS, ReadPlace, read_places, text_size
from pipeline.planning.sample_totals import Estimated, total_of
from pipeline.planning.scoring import Scoring
from pipeline.planning.stored_bytes import missing_bytes
from pipeline.schema import only_list
from pipeline.text.tokenizer import Tokenizer

LONG_CHARACTERS = 2_000_000  # tokenized of one document: the rest of it is taken to be as dense
START_ERROR = 0.05  # relative standard error of a file of which only the beginning is read
LENGTH_BITS = 48  # bits that the count of a document's tokens has at most

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """What was counted in a sample of a plan's missing units.

    Attributes:
        weights: of each place, in bytes that are stored; together those of all units where `is_whole`.
        counts: of each place: documents, errors, windows, the windows behind the first of their document, tokens (of
            windows, as a run counts them), padding and text_bytes.
        lengths: of each place, documents by the number of bits that the count of their tokens has.
        all_weight: of all missing units.
        is_whole: the sample is all of them.
        start_share: of all, what lies in files of which only the beginning can be entered, and was read.
        known_documents: of all missing units, where footers tell.
        documents: that were tokenized.
        largest: text of one of them, in bytes, and its id.
        reasons: documents among them by the reason why they can't be labelled.
        packs: PACKS of all that was tokenized, in one row.
        text_seconds: that it took one core to tokenize and pack these.
        seconds: that the sample took.
    """

    weights: Numbers
    counts: dict[str, Numbers]
    lengths: Numbers
    all_weight: float
    is_whole: bool
    start_share: float
    known_documents: int | None
    documents: int
    largest: tuple[int, str]
    reasons: dict[str, int]
    packs: pa.Table
    text_seconds: float
    seconds: float

    def total(self, name: str) -> Estimated:
        """Estimates how much of one of `counts` all missing units have."""
        if self.is_whole:
            return Estimated.known(float(self.counts[name].sum()))
        known = self.known_documents
        if known is not None and name == "documents":
            return Estimated.known(known)
        if known is not None and name == "windows":  # what can be long or short by chance are the others
            return self.total("later_windows").plus(known - self.total("errors").value)
        return total_of(self.counts[name] / self.weights, self.all_weight, START_ERROR * self.start_share)

    def length_totals(self) -> list[int]:
        """Estimates how many documents there are by the number of bits that the count of their tokens has."""
        scale = 1.0 if self.is_whole else self.all_weight / len(self.weights)
        totals = (self.lengths if self.is_whole else self.lengths / self.weights[:, None]).sum(0) * scale
        if self.known_documents and (sum_ := totals.sum()):
            totals *= (self.known_documents - self.total("errors").value) / sum_
        return [int(total) for total in np.trim_zeros(np.rint(totals), "b")]

    @property
    def sampled_tokens(self) -> int:
        """Tokens of the windows in `packs`."""
        return int(only_list(self.packs, "window_tokens").sum())


def take_sample(plan: Plan, tokenizer: Tokenizer, seed: str = "", seconds: float = SECONDS) -> Sample:
    """Reads and tokenizes documents of what a plan lacks: of little all, of much some, for about `seconds`.

    `seed`: another one gives another sample. Raises what reading raises: CorpusError, AccessError, StorageError.
    """
    started = time.perf_counter()
    frame = sample_frame(missing_bytes(plan), plan.scoring.key + seed)
    places = read_places(plan.storage, frame.places, seconds)
    rows = [row for place in places for row in place.rows]
    tokenizing = time.perf_counter()
    packs = _packs(plan.scoring, tokenizer, rows)
    ended = time.perf_counter()
    documents = _SampledDocuments.of(packs, rows, plan.scoring.block_size)
    known = [unit.documents for _, unit in plan.missing]
    stops = np.cumsum([len(place.rows) for place in places], dtype=np.int64).tolist()
    counted = [documents.at(place, stop - len(place.rows), stop) for place, stop in zip(places, stops, strict=True)]
    return Sample(
        weights=np.array([place.weight for place in places]),
        counts={name: np.array([counts[name] for counts, _ in counted]) for name in counted[0][0]} if counted else {},
        lengths=np.array([lengths for _, lengths in counted]),
        all_weight=frame.weight,
        is_whole=frame.is_whole,
        start_share=sum(place.is_start for place in places) / max(1, len(places)),
        known_documents=None if None in known else sum(count for count in known if count is not None),
        documents=len(rows),
        largest=max(((text_size(row), row["id"]) for row in rows), default=(0, "")),
        reasons=dict(Counter(reason for reason in documents.reasons if reason)),
        packs=packs,
        text_seconds=ended - tokenizing,
        seconds=ended - started,
    )


def _packs(scoring: Scoring, tokenizer: Tokenizer, rows: Sequence[Row]) -> pa.Table:
    shortened = [_shortened(with_python_text(row)) for row in rows]
    packer = replace(scoring.packer(tokenizer), located=False)  # which characters a token has is not counted
    return packer.packs("sample", documents_table(shortened))


def _shortened(row: Row) -> Row:
    text = row.get("text")
    return row | {"text": text[:LONG_CHARACTERS]} if text and len(text) > LONG_CHARACTERS else row


@dataclass(frozen=True, slots=True)
class _SampledDocuments:
    """What was counted in each document that was tokenized."""

    text_bytes: Numbers
    windows: Numbers
    tokens: Numbers
    padding: Numbers
    bits: npt.NDArray[np.int64]  # of the count of its tokens; 0 of one that can't be labelled
    reasons: list[str | None]

    @classmethod
    def of(cls, packs: pa.Table, rows: Sequence[Row], block_size: int) -> "_SampledDocuments":
        records = pa.Table.from_struct_array(packs["documents"].chunk(0).flatten())
        at, tokens = only_list(packs, "window_documents"), only_list(packs, "window_tokens")
        text_bytes = np.array([text_size(row) for row in rows], np.float64)
        # of a text that was shortened each window stands for some more
        stretch = np.array([max(1.0, size / _read_size(row, size)) for row, size in zip(rows, text_bytes, strict=True)])
        n_tokens = records["n_tokens"].fill_null(0).to_numpy() * stretch
        return cls(
            text_bytes=text_bytes,
            windows=np.bincount(at, minlength=len(rows)) * stretch,
            tokens=np.bincount(at, tokens, len(rows)) * stretch,
            padding=np.bincount(at, -tokens % block_size, len(rows)) * stretch,
            bits=np.frexp(np.rint(n_tokens))[1].astype(np.int64),
            reasons=records["reason"].to_pylist(),
        )

    def at(self, place: ReadPlace, start: int, stop: int) -> tuple[dict[str, float], Numbers]:
        """What an extract has of everything, and documents by length, judged by those of it that were tokenized.

        By the bytes of their texts, which are known of all: but a document has one window at least.
        """
        own = slice(start, stop)
        of_text = place.text_bytes / size if (size := self.text_bytes[own].sum()) else 1.0
        each = place.documents / max(1, stop - start)
        failed = sum(reason is not None for reason in self.reasons[own])
        labelled = stop - start - failed
        later = (self.windows[own].sum() - labelled) * of_text
        counts = {
            "documents": float(place.documents),
            "errors": failed * each,
            "windows": labelled * each + later,
            "later_windows": later,
            "tokens": self.tokens[own].sum() * of_text,
            "padding": self.padding[own].sum() * of_text,
            "text_bytes": float(place.text_bytes),
        }
        bits = self.bits[own]
        return counts, np.bincount(bits[bits > 0], minlength=LENGTH_BITS).astype(np.float64) * each


def _read_size(row: Row, size: float) -> float:
    """Bytes of a text that was tokenized."""
    if size <= LONG_CHARACTERS:
        return max(1.0, size)
    text = with_python_text(row)["text"]
    return float(len(text[:LONG_CHARACTERS].encode()))
