"""A gold corpus: documents that people labelled, looked up by id in a snapshot. Its texts are not scored. No ray.

Shapes: N documents, L labels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.corpus.labels import Labelled
from pipeline.errors import CorpusError
from pipeline.identity import digest
from pipeline.storage.objects import Storage
from pipeline.tables.predictions import open_predictions
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tasks.targets import targets
from pipeline.terms import Label

_EXPECTED = {"label": "one label, a string or a whole number", "labels": "a list of strings"}  # by a table's column


@dataclass(frozen=True)
class Gold:
    """The labels of each document of a gold corpus, by its id; `column` is the table's with the labels."""

    labels: Mapping[str, tuple[str, ...]]
    column: str

    @classmethod
    def read(cls, storage: Storage, settings: LabelledCorpusSettings, column: str) -> "Gold":
        """Reads every label, and a text at a time. Raises CorpusError, AccessError, StorageError."""
        labels: dict[str, tuple[str, ...]] = {}
        try:
            for document in Labelled.open(storage, settings):
                if document.id in labels:
                    raise CorpusError(f"several documents have the id {document.id!r}; expected ids that differ")
                labels[document.id] = _names(document.id, document.label, column)
        except CorpusError as error:
            raise CorpusError(f"gates.gold: {error}") from error
        return cls(labels, column)

    @cached_property
    def digest(self) -> str:
        """Digest of all that it judges by."""
        return digest("gold/1", self.column, sorted(self.labels.items()))

    def score(self, snapshots: Snapshots, manifest: Manifest) -> tuple[float | None, int]:
        """Gives a snapshot's macro F1, and of how many documents: those that it has a prediction for.

        The macro F1 is None where none of these has a label. Raises StorageError.
        """
        from pipeline.evaluation.metrics import macro_f1  # scikit-learn and SciPy take a second, for those who need it

        given = self._given(snapshots, manifest)
        truth = [self.labels[id_] for id_ in given]
        names = sorted({name for of_one in (*truth, *given.values()) for name in of_one})
        if not names:
            return None, len(given)
        truth_NL = targets("multi_label", names, truth)
        given_NL = targets("multi_label", names, list(given.values())) > 0
        figure = macro_f1(truth_NL, given_NL)
        return (None if math.isnan(figure) else figure), len(given)

    def _given(self, snapshots: Snapshots, manifest: Manifest) -> dict[str, tuple[str, ...]]:
        """The labels that a snapshot gives, by id; of an id that several documents have, those of the first one."""
        rows = open_predictions(snapshots, manifest).to_table(
            columns=["id", self.column, "source_uri", "source_position"],
            filter=pc.field("id").isin(pa.array(self.labels, pa.string())),
        )
        rows = rows.sort_by([("source_uri", "descending"), ("source_position", "descending")])
        labels = rows[self.column].to_pylist()
        if self.column == "label":
            labels = [() if label is None else (label,) for label in labels]
        return {id_: tuple(of_one) for id_, of_one in zip(rows["id"].to_pylist(), labels, strict=True)}


def _names(id_: str, label: Label, column: str) -> tuple[str, ...]:
    if column == "labels" and isinstance(label, tuple):
        return label
    if column == "label" and isinstance(label, str | int):
        return (str(label),)
    raise CorpusError(
        f"the label of document {id_!r} is {label!r}; expected {_EXPECTED[column]}, as the table has the column "
        f"{column!r}"
    )
