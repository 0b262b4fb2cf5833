"""The job's documents, and which of them train, validate and test."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.config import CorpusSettings, LabelledCorpusSettings
from pipeline.corpus.files import discover
from pipeline.corpus.labelled import TEXT_BYTES, Labelled, LabelledDocument
from pipeline.corpus.readers import rows
from pipeline.corpus.units import cut
from pipeline.errors import CorpusError
from pipeline.schema import Label
from pipeline.storage import Storage
from pipeline.training.settings import TrainJob

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Documents:
    """The job's labelled documents with their splits; None for those of no split."""

    job: TrainJob
    corpora: tuple[tuple[Split, Labelled], ...]

    @classmethod
    def open(cls, storage: Storage, job: TrainJob) -> "Documents":
        named: list[tuple[Split, LabelledCorpusSettings | None]] = [
            ("train", job.corpus), ("validation", job.validation), ("test", job.test)
        ]  # fmt: skip
        return cls(
            job,
            tuple(
                (split, Labelled.open(storage, settings)) for split, settings in named if settings
            ),
        )

    def labels(self) -> tuple[dict[Split, list[Label]], int]:
        """Of each split; and how many documents are of none. Raises CorpusError where none trains, or none validates."""
        labels: dict[Split, list[Label]] = {split: [] for split in SPLITS}
        others = Counter[str | None]()
        for split, document in self:
            if split is None:
                others[document.split] += 1
            else:
                labels[split].append(document.label)
        for needed in SPLITS[:2]:
            if not labels[needed]:
                raise self._nothing_for(needed, others)
        return labels, others.total()

    def _nothing_for(self, split: Split, others: Counter[str | None]) -> CorpusError:
        column, name = self.job.corpus.split_column, getattr(self.job.splits, split)
        if column is None:
            why = "the corpus is too small to share"
        else:
            seen = ", ".join(sorted(repr(other) for other in others)) or "none"
            why = f"none has {name!r} in corpus.split_column {column!r} (others found: {seen}); name the split"
        more = ", or give a validation corpus" if split == "validation" else ""
        return CorpusError(f"splits.{split}: no document is for {split}: {why}{more}")

    def __iter__(self) -> Iterator[tuple[Split | None, LabelledDocument]]:
        for split, corpus in self.corpora:
            for document in corpus:
                yield self._split(document) if split == "train" else split, document

    def _split(self, document: LabelledDocument) -> Split | None:
        """Of a document of the main corpus."""
        if self.job.corpus.split_column is not None:
            names: dict[str | None, Split] = {
                getattr(self.job.splits, split): split for split in SPLITS
            }
            return names.get(document.split)
        share = self.job.splits.validation_share
        if self.job.validation is None and hashed(document.id) < share:
            return "validation"
        return "train"


def hashed(id_: str) -> float:
    """From 0 to 1, the same on every machine."""
    return int.from_bytes(hashlib.sha256(id_.encode()).digest()[:8]) / 2**64


def plain_texts(storage: Storage, settings: CorpusSettings) -> Iterator[str]:
    """The texts of a corpus; what cannot be read is left out."""
    for unit in cut(storage, discover(storage, settings), settings, TEXT_BYTES):
        for row in rows(storage, unit):
            if row.get("text"):
                yield row["text"]
