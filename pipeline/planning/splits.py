"""A corpus's labels: which documents are measured and fitted, and why others are not. No ray."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, compress

import numpy as np

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.corpus.labels import Truth, is_missing, truths
from pipeline.corpus.slices import Unit
from pipeline.corpus.training_documents import TRAINING_DOCUMENTS_NAME, TrainingDocuments, Use
from pipeline.errors import CheckpointError, CorpusError
from pipeline.packed import PackedList
from pipeline.planning.plan import Plan
from pipeline.tables.unit_ids import UnitIdSet
from pipeline.tasks.classification import Classification
from pipeline.tasks.targets import targets
from pipeline.terms import Label

_NAMED = 3

TruthOfUnit = tuple[Unit, Truth]
TRAINED = "trained on"
REASONS: Mapping[Use, str] = {"train": TRAINED, "validation": "validated on"}  # to leave one out


@dataclass(frozen=True, slots=True)
class Split:
    """A split's documents: those to be labelled, with their labels and by unit, and how many others there are, and why.

    Where no column says of splits (`column` is None), all documents are in one.
    """

    name: str
    column: str | None
    units: dict[Unit, list[Truth]]
    skipped: int  # without a label
    left_out: Counter[str]
    unreadable: Counter[str]  # by the reader's reason
    astray: int  # can't be read, so that nobody knows whether they are in this split

    @property
    def labels(self) -> list[Label]:
        """The labels of the documents that are to be labelled, in the order of their units."""
        rows = chain.from_iterable(self.units.values())
        return [row.label for row in rows if row.label is not None]

    @property
    def title(self) -> str:
        """For messages: nothing is called a test that nobody has set apart."""
        return f"the split {self.name!r}" if self.column else "the corpus"

    @property
    def documents(self) -> int:
        """All of the split."""
        others = self.left_out.total() + self.unreadable.total()
        return len(self) + self.skipped + others

    def __len__(self) -> int:
        return sum(map(len, self.units.values()))


@dataclass(frozen=True, slots=True)
class Splits:
    """What is measured, and what is fitted; `untold`: why nobody knows what the checkpoint was trained on, if so."""

    measured: Split
    fitted: Split | None
    untold: str | None

    @property
    def all(self) -> list[Split]:
        """Both, or the only one."""
        return [self.measured, *([self.fitted] if self.fitted else [])]


def read_splits(plan: Plan, corpus: LabelledCorpusSettings, measured: str, fitted: str | None = None) -> Splits:
    """Reads the splits called so, and checks them against the checkpoint's labels before anything is computed.

    Left out are documents whose text the checkpoint was trained on, and of those that are measured what it was
    validated on: that has chosen its weights. Fitting may use it again: it decides, as choosing did, and is measured on
    others.

    Raises:
        CorpusError: a split that is missing; labels that are missing, or are none, or that the checkpoint does not
        know; a split of which all documents are left out.
    """
    rows = list(truths(plan.storage, corpus, plan.units))
    names = [measured, *([fitted] if fitted else [])]
    if corpus.split_column is not None:
        _check_names(corpus.split_column, names, rows)
    documents = TrainingDocuments.read(plan.checkpoint.path)
    reasons: Mapping[bytes, str] = {}
    if documents:
        uses = documents.uses(row.digest for _, row in rows if row.digest)
        reasons = {digest: REASONS[use] for digest, use in uses.items()}
    measured_split = _split(plan, corpus, measured, rows, reasons)
    if fitted is None:
        return Splits(measured_split, None, _untold(documents))
    trained_on = {digest: reason for digest, reason in reasons.items() if reason == TRAINED}
    measures = chain.from_iterable(measured_split.units.values())
    twice: dict[bytes, str] = {row.digest: "measured too" for row in measures if row.digest}
    fitted_split = _split(plan, corpus, fitted, rows, {**twice, **trained_on})
    return Splits(measured_split, fitted_split, _untold(documents))


def _untold(documents: TrainingDocuments | None) -> str | None:
    if documents is None:
        return f"there is no {TRAINING_DOCUMENTS_NAME} in its folder"
    if not documents.complete:
        return f"its {TRAINING_DOCUMENTS_NAME} lacks the documents of the checkpoint that training went on from"
    return None


def only(plan: Plan, splits: Iterable[Split]) -> Plan:
    """Takes the part of a plan that holds documents of the splits."""
    wanted = {unit for split in splits for unit in split.units}
    files = {unit.file for unit in wanted if unit.slice.part_number is not None}
    chosen = [unit in wanted or (unit.slice.is_stream and unit.file in files) for unit in plan.units]
    return replace(
        plan,
        units=PackedList(compress(plan.units, chosen)),
        left_out=UnitIdSet(np.concatenate([plan.left_out.array, plan.unit_ids.array[~np.array(chosen, bool)]])),
    )


def classification(plan: Plan) -> Classification:
    """Gives the task that there is to measure. Raises CheckpointError where the outputs are nobody's labels."""
    task = plan.task
    if not isinstance(task, Classification):
        kind = plan.checkpoint.head.task.replace("_", " ")
        raise CheckpointError(
            f"{plan.job.checkpoint.uri}: {kind} can't be measured; expected a classification or a regression"
        )
    return task


def _split(
    plan: Plan,
    corpus: LabelledCorpusSettings,
    name: str,
    rows: list[TruthOfUnit],
    reasons: Mapping[bytes, str],
) -> Split:
    units: dict[Unit, list[Truth]] = {}
    without_label: list[str] = []
    left_out, unreadable, astray = Counter[str](), Counter[str](), 0
    for unit, row in rows:
        if corpus.split_column is not None and row.split != name:
            astray += row.reason is not None and row.split is None
        elif row.reason is not None:
            unreadable[row.reason] += 1
        elif is_missing(row.label, corpus):
            without_label.append(row.id)
        elif reason := row.digest and reasons.get(row.digest):
            left_out[reason] += 1
        else:
            units.setdefault(unit, []).append(row)
    split = Split(name, corpus.split_column, units, len(without_label), left_out, unreadable, astray)
    _check_labels(plan, corpus, split, without_label)
    task = classification(plan)
    try:
        targets(task.problem_type, task.labels, split.labels)
    except CorpusError as error:
        raise CorpusError(f"corpus.label_column {corpus.label_column!r}, {split.title}: {error}") from error
    return split


def _check_names(column: str, names: list[str], rows: list[TruthOfUnit]) -> None:
    counts = Counter(row.split for _, row in rows)
    for name in names:
        if not counts[name]:
            listed = ", ".join(f"{value!r} ({count:,})" for value, count in counts.most_common(_NAMED * 3))
            raise CorpusError(
                f"corpus.split_column {column!r}: no document is in the split {name!r}; found "
                f"{listed or 'no document'}; name the splits with evaluation.test and evaluation.validation"
            )


def _check_labels(plan: Plan, corpus: LabelledCorpusSettings, split: Split, without_label: list[str]) -> None:
    column, readable = corpus.label_column, split.documents - split.unreadable.total()
    if not len(split) and split.left_out:
        raise CorpusError(
            f"{split.title}: all {split.left_out.total():,} documents with a label are left out: "
            f"{in_words(split.left_out)}. What a checkpoint was trained on (by {TRAINING_DOCUMENTS_NAME} of "
            f"{plan.job.checkpoint.uri}), or is measured too, says nothing of other documents: give others, or train "
            "with a corpus.split_column that sets some apart"
        )
    if not len(split):
        raise CorpusError(
            f"corpus.label_column {column!r}: not one of {readable:,} documents of {split.title} has a label there; "
            "expected a column of the files, or a hive key of their paths"
        )
    if without_label and corpus.unlabelled != "skip":
        first = ", ".join(map(repr, without_label[:_NAMED]))
        raise CorpusError(
            f"corpus.label_column {column!r}: {len(without_label):,} of {readable:,} documents of {split.title} have "
            f"no label there, the first of them {first}; label them, leave them out with corpus.unlabelled: skip, or "
            "take empty lists for none of the labels with keep"
        )


def in_words(counts: Mapping[str, int]) -> str:
    """Lists counts, the most frequent first: `trained on 40, validated on 8`."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {count:,}" for reason, count in ordered)
