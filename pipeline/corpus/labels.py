"""Documents with the labels that people gave them, for training and for measuring.

A label is what its column holds: a string, a list of strings, a number. What a head makes of it is not decided here
(see pipeline/tasks/targets.py). A column that a file does not have is looked for among the hive keys of its path; where
both say something, they must say the same.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.corpus.documents import rows
from pipeline.corpus.files import discover
from pipeline.corpus.rows import Row, with_python_text
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import passes, unit_rows
from pipeline.corpus.training_documents import content_digest
from pipeline.corpus.units import cut
from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage
from pipeline.terms import Label

SHOWN = 3
TEXT_BYTES = 16_000_000  # of a unit: no more lies in memory at once


@dataclass(frozen=True, slots=True)
class LabelledDocument:
    """A document with its label, and the split that its column or path says."""

    id: str
    text: str
    label: Label
    split: str | None


@dataclass(frozen=True, slots=True)
class Labelled:
    """A corpus of labelled documents, read one at a time.

    `iter` raises CorpusError: a document cannot be read, or has no label where each must have one, or a label that is
    none.
    """

    storage: Storage
    settings: LabelledCorpusSettings
    units: tuple[Unit, ...]

    @classmethod
    def open(cls, storage: Storage, settings: LabelledCorpusSettings) -> "Labelled":
        """Lists the files. Raises CorpusError, AccessError, StorageError."""
        extra = tuple(filter(None, (settings.label_column, settings.split_column)))
        units = cut(storage, discover(storage, settings).files, settings, TEXT_BYTES)
        return cls(storage, settings, tuple(_with_columns(unit, extra) for unit in units))

    def __iter__(self) -> Iterator[LabelledDocument]:
        unlabelled: list[str] = []
        labelled = 0
        for unit in self.units:
            for row in rows(self.storage, unit):
                document = self._document(unit, row)
                if document is None:
                    unlabelled.append(row["id"])
                    continue
                labelled += 1
                yield document
        self._refuse_unlabelled(labelled, unlabelled)

    def _document(self, unit: Unit, row: Row) -> LabelledDocument | None:
        """None if it has no label."""
        where = f"{unit.file.uri}: document {row['id']!r}"
        if row.get("reason"):
            raise CorpusError(f"{where} cannot be read: {row['reason']} ({row['message']})")
        values = _values(unit, row, where)
        label = _label(values.get(self.settings.label_column), where, self.settings.label_column)
        if is_missing(label, self.settings):
            return None
        assert label is not None
        if not row["text"]:
            raise CorpusError(f"{where} has a label but no text; leave it out of the corpus")
        split = _split(values, self.settings.split_column)
        return LabelledDocument(row["id"], row["text"], label, split)

    def _refuse_unlabelled(self, labelled: int, unlabelled: list[str]) -> None:
        column = self.settings.label_column
        if not labelled:
            raise CorpusError(
                f"corpus.label_column {column!r}: not one of {len(unlabelled):,} documents has a value there; "
                "expected a column of the files, or a hive key of their paths"
            )
        if unlabelled and self.settings.unlabelled != "skip":
            first = ", ".join(map(repr, unlabelled[:SHOWN]))
            raise CorpusError(
                f"corpus.label_column {column!r}: {len(unlabelled):,} of {labelled + len(unlabelled):,} documents have "
                f"no label there (null, empty or an empty list), the first of them {first}; label them, leave them "
                "out with corpus.unlabelled: skip, or take empty lists for none of the labels with keep"
            )


@dataclass(frozen=True, slots=True)
class Truth:
    """What people say of one document; `position` finds it in its file, as it does in a fragment.

    `digest` is its text's content digest, None where it has no text. One that can't be read has a `reason` and no
    label.
    """

    position: int
    id: str
    label: Label | None  # `()` for an empty list
    split: str | None
    digest: bytes | None = None
    reason: str | None = None


def truths(storage: Storage, settings: LabelledCorpusSettings, units: Iterable[Unit]) -> Iterator[tuple[Unit, Truth]]:
    """Of each document of some units, with its unit: in a stream, with the part that holds it, maybe not yet cut.

    Raises CorpusError for a label that is none.
    """
    extra = tuple(filter(None, (settings.label_column, settings.split_column)))
    for together in passes(units):
        with_labels = tuple(_with_columns(unit, extra) for unit in together)
        with closing(unit_rows(storage, with_labels)) as units_with_rows:
            for unit, unit_rows_ in units_with_rows:
                planned = _with_columns(unit, ())
                for row in unit_rows_:
                    yield planned, _truth(settings, planned, with_python_text(row))


def _with_columns(unit: Unit, names: tuple[str, ...]) -> Unit:
    return replace(unit, reading=replace(unit.reading, extra_columns=names))


def _truth(settings: LabelledCorpusSettings, unit: Unit, row: Row) -> Truth:
    column, split_column = settings.label_column, settings.split_column
    where = f"{unit.file.uri}: document {row['id']!r}"
    known = (row["position"], row["id"])
    if row.get("reason"):
        known_values = dict(unit.file.partitions) | row.get("values", {})
        split = _split(known_values, split_column)
        return Truth(*known, None, split, reason=row["reason"])
    values = _values(unit, row, where)
    label = _label(values.get(column), where, column)
    text = row["text"]
    digest = None if text is None else content_digest(text)
    return Truth(*known, label, _split(values, split_column), digest)


def is_missing(label: Label | None, settings: LabelledCorpusSettings) -> bool:
    """Whether a document counts as unlabelled."""
    return label is None or (label == () and settings.unlabelled != "keep")


def _values(unit: Unit, row: Row, where: str) -> dict[str, object]:
    """What the document's own columns and its path say. Raises CorpusError: not the same, or what is no value."""
    columns: dict[str, object] = row.get("values", {})
    path: dict[str, object] = dict(unit.file.partitions)
    for name, value in columns.items():
        value = _not_encodable(value) or value
        if isinstance(value, Exception):
            raise CorpusError(f"{where}: column {name!r} can't be read ({value}); correct it")
        if name in path and path[name] != (None if value is None else str(value)):
            raise CorpusError(
                f"{where}: column {name!r} is {value!r}, and the file's path says {path[name]!r}; correct one of them"
            )
    return path | columns


def _not_encodable(value: object) -> UnicodeError | None:
    texts = value if isinstance(value, list) else [value]
    try:
        for text in texts:
            str(text).encode()
    except UnicodeError as error:
        return error
    return None


def _split(values: dict[str, object], column: str | None) -> str | None:
    split = values.get(column) if column else None
    return None if split is None else str(split)


def _label(value: object, where: str, column: str) -> Label | None:
    """None for null and the empty string, `()` for an empty list."""
    match value:
        case None | "":
            return None
        case list() if all(isinstance(item, str) and item for item in value):
            return tuple(value)
        case float() if not math.isfinite(value):
            raise CorpusError(
                f"{where}: column {column!r} is {value}; expected a finite number: correct it, or make it null"
            )
        case Decimal():
            return float(value)
        case str() | bool() | int() | float():
            return value
    raise CorpusError(f"{where}: column {column!r} is {value!r}; expected a string, a list of strings, or a number")
