"""The job's documents, and which of them train, validate and test.

A text is for one of them only: what was trained on would be known by heart where it is measured, and what chose the
weights would flatter them. So a document of the validation split is left out where its text is among those that train,
and one of the test split where it trains or validates, here or in the training that the checkpoint had before. Training
keeps all of its own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.corpus import CorpusSettings, LabelledCorpusSettings
from pipeline.config.train import TrainJob
from pipeline.corpus.documents import rows
from pipeline.corpus.files import discover
from pipeline.corpus.labels import TEXT_BYTES, Labelled, LabelledDocument
from pipeline.corpus.training_documents import TrainingDocuments, content_digest, digests
from pipeline.corpus.units import cut
from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage
from pipeline.terms import Label

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
BoolArray = npt.NDArray[np.bool_]
NO_DOCUMENTS = TrainingDocuments.of(digests(b""), digests(b""), complete=True)


@dataclass(frozen=True, slots=True)
class Documents:
    """The job's labelled documents, which `iter` yields with their splits; those of no split don't come.

    `used` says of each document of a split whether it is; `labels` are those of the used ones.
    """

    source: "DocumentSource"
    used: Mapping[SplitName, BoolArray]
    labels: Mapping[SplitName, list[Label]]
    trained_on: TrainingDocuments  # here and before
    left_out: int  # documents of no split

    @property
    def repeated(self) -> dict[SplitName, int]:
        """How many documents are left out, because an earlier split has their text."""
        return {split: int((~used).sum()) for split, used in self.used.items()}

    def __iter__(self) -> Iterator[tuple[SplitName, LabelledDocument]]:
        used = {split: iter(self.used[split].tolist()) for split in SPLITS}
        for split, document in self.source:
            if split is not None and next(used[split]):
                yield split, document


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """All labelled documents with their splits; None for those of no split."""

    job: TrainJob
    corpora: tuple[tuple[SplitName, Labelled], ...]

    @classmethod
    def open(cls, storage: Storage, job: TrainJob) -> "DocumentSource":
        """Lists the files. Raises CorpusError, AccessError, StorageError."""
        named: list[tuple[SplitName, LabelledCorpusSettings | None]] = [
            ("train", job.corpus),
            ("validation", job.validation),
            ("test", job.test),
        ]
        return cls(
            job,
            tuple((split, Labelled.open(storage, settings)) for split, settings in named if settings),
        )

    def choose(self, earlier: TrainingDocuments | None, *, complete: bool) -> Documents:
        """Reads all once; `earlier` is what the checkpoint was trained on before, `complete` whether that is known.

        Raises CorpusError: none trains, or none validates.
        """
        labels, digests_of, left_out = self._read()
        before = (earlier or NO_DOCUMENTS).by_use
        train = pa.concat_arrays([digests_of["train"], before["train"]])
        validation = pa.concat_arrays([digests_of["validation"], before["validation"]])
        used: dict[SplitName, BoolArray] = {
            "train": np.ones(len(digests_of["train"]), bool),
            "validation": _not_in(digests_of["validation"], train),
            "test": _not_in(digests_of["test"], pa.concat_arrays([train, validation])),
        }
        if not used["validation"].any():
            raise self._nothing_else_for_validation(len(labels["validation"]))
        return Documents(
            source=self,
            used=used,
            labels={split: list(compress(labels[split], used[split])) for split in SPLITS},
            trained_on=TrainingDocuments.of(train, validation, complete=complete),
            left_out=left_out,
        )

    def _read(self) -> tuple[dict[SplitName, list[Label]], dict[SplitName, pa.Array], int]:
        """Labels and digests by split, and how many documents are of none."""
        labels: dict[SplitName, list[Label]] = {split: [] for split in SPLITS}
        content = {split: bytearray() for split in SPLITS}
        others = Counter[str | None]()
        for split, document in self:
            if split is None:
                others[document.split] += 1
            else:
                labels[split].append(document.label)
                content[split] += content_digest(document.text)
        for needed in SPLITS[:2]:
            if not labels[needed]:
                raise self._nothing_for(needed, others)
        return labels, {split: digests(content[split]) for split in SPLITS}, others.total()

    def _nothing_for(self, split: SplitName, others: Counter[str | None]) -> CorpusError:
        column, name = self.job.corpus.split_column, getattr(self.job.splits, split)
        if column is None:
            why = "the corpus is too small to share"
        else:
            listed = ", ".join(sorted(repr(other) for other in others)) or "none"
            why = f"none has {name!r} in corpus.split_column {column!r} (others found: {listed}); name the split"
        more = ", or give a validation corpus" if split == "validation" else ""
        return CorpusError(f"splits.{split}: no document is for {split}: {why}{more}")

    def _nothing_else_for_validation(self, documents: int) -> CorpusError:
        before = ", or was trained on before by the checkpoint" if self.job.checkpoint else ""
        return CorpusError(
            f"splits.validation: the text of each of its {documents:,} documents is among those that train{before}; "
            "what is known by heart validates nothing: give others"
        )

    def __iter__(self) -> Iterator[tuple[SplitName | None, LabelledDocument]]:
        for split, corpus in self.corpora:
            for document in corpus:
                yield self._split(document) if split == "train" else split, document

    def _split(self, document: LabelledDocument) -> SplitName | None:
        """Of a document of the main corpus."""
        if self.job.corpus.split_column is not None:
            names: dict[str | None, SplitName] = {getattr(self.job.splits, split): split for split in SPLITS}
            return names.get(document.split)
        share = self.job.splits.validation_share
        if self.job.validation is None and hashed(document.id) < share:
            return "validation"
        return "train"


def _not_in(documents: pa.Array, others: pa.Array) -> BoolArray:
    return np.asarray(pc.invert(pc.is_in(documents, others)), bool)


def hashed(id_: str) -> float:
    """Hashes an id to a number from 0 to 1, the same on every machine."""
    return int.from_bytes(hashlib.sha256(id_.encode()).digest()[:8]) / 2**64


def plain_texts(storage: Storage, settings: CorpusSettings) -> Iterator[str]:
    """Reads the texts of a corpus; what cannot be read is left out."""
    for unit in cut(storage, discover(storage, settings).files, settings, TEXT_BYTES):
        for row in rows(storage, unit):
            if row.get("text"):
                yield row["text"]
