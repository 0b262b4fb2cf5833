"""A plan's fragments beside the labels of its corpus: what an evaluation measures. No ray.

Shapes: N documents, L outputs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import LabelledCorpusSettings
from pipeline.corpus.labelled import Truth, is_missing, truths
from pipeline.dataflow.plan import Plan
from pipeline.errors import CheckpointError, CorpusError
from pipeline.evaluation.examples import Examples, truth
from pipeline.schema import Label
from pipeline.storage import TRANSFERS
from pipeline.tasks.classification import Classification
from pipeline.tasks.targets import targets

NAMED = 3


@dataclass(frozen=True, slots=True)
class Split:
    """Documents with labels, by unit; `skipped` have none. Where no column says of splits, all documents are in one."""

    name: str
    units: dict[str, list[Truth]]
    skipped: int

    @property
    def labels(self) -> list[Label]:
        rows = chain.from_iterable(self.units.values())
        return [row.label for row in rows if row.label is not None]

    def __len__(self) -> int:
        return sum(map(len, self.units.values()))


@dataclass(frozen=True, slots=True)
class Joined:
    """A split's documents that could be labelled; why others could not, and how many of them."""

    examples: Examples
    failed: Counter[str]


def read_splits(plan: Plan, corpus: LabelledCorpusSettings, names: list[str]) -> list[Split]:
    """The splits called so, checked against the checkpoint's labels before anything is computed.

    Raises CorpusError: a split that is missing, labels that are missing, or are none, or that the checkpoint does not know.
    """
    found = {
        id_: list(truths(plan.storage, corpus, unit))
        for id_, unit in zip(plan.unit_ids, plan.units, strict=True)
    }
    if corpus.split_column is not None:
        _check_names(corpus.split_column, names, found.values())
    return [_split(plan, corpus, name, found) for name in names]


def only(plan: Plan, splits: Iterable[Split]) -> Plan:
    """The part of a plan that holds documents of the splits."""
    wanted = {unit for split in splits for unit in split.units}
    pairs = zip(plan.unit_ids, plan.units, strict=True)
    return replace(plan, units=tuple(unit for id_, unit in pairs if id_ in wanted))


def join(plan: Plan, split: Split) -> Joined:
    """A split's labels with the logits of its units' fragments, by position. Raises CorpusError where not one has any."""
    labels: list[Any] = []
    tables, failed = [], Counter[str]()
    for id_, documents in _with_fragments(plan, split):
        own = {document.position: document.label for document in split.units[id_]}
        chosen = documents.filter(pc.is_in(documents["position"], pa.array(list(own), pa.int64())))
        failed.update(chosen["reason"].drop_null().to_pylist())
        scored = chosen.filter(pc.is_null(chosen["reason"]))
        labels += [own[position] for position in scored["position"].to_pylist()]
        tables.append(scored.select(["n_tokens", "n_windows", "logits"]))
    if not labels:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in failed.most_common())
        raise CorpusError(
            f"split {split.name!r}: not one of its {len(split):,} documents could be labelled ({reasons}); repair them"
        )
    return Joined(_examples(plan, pa.concat_tables(tables), labels), failed)


def classification(plan: Plan) -> Classification:
    """What there is to measure. Raises CheckpointError for a checkpoint whose outputs are nobody's labels."""
    task = plan.task
    if not isinstance(task, Classification):
        kind = plan.checkpoint.head.task.replace("_", " ")
        raise CheckpointError(
            f"{plan.job.checkpoint.uri}: {kind} can't be measured; expected a classification or a regression"
        )
    return task


def _examples(plan: Plan, documents: pa.Table, labels: list[Any]) -> Examples:
    task = classification(plan)
    logits = documents["logits"].combine_chunks().flatten().to_numpy()
    logits_NL = task.per_label(logits.reshape(len(documents), -1).astype(np.float64))
    target = targets(task.problem_type, task.labels, labels)
    return Examples(
        logits_NL,
        truth(task.problem_type, target, len(task.labels)),
        documents["n_tokens"].to_numpy().astype(np.int64),
        documents["n_windows"].to_numpy().astype(np.int64),
    )


def _with_fragments(plan: Plan, split: Split) -> Iterator[tuple[str, pa.Table]]:
    ids = list(split.units)
    for start in range(0, len(ids), TRANSFERS):
        some = ids[start : start + TRANSFERS]
        yield from zip(some, plan.fragments.read(some), strict=True)


def _split(
    plan: Plan, corpus: LabelledCorpusSettings, name: str, found: dict[str, list[Truth]]
) -> Split:
    own = {
        id_: [row for row in rows if corpus.split_column is None or row.split == name]
        for id_, rows in found.items()
    }
    task = classification(plan)
    labelled = {
        id_: [row for row in rows if not is_missing(row.label, corpus)] for id_, rows in own.items()
    }
    missing = [row.id for rows in own.values() for row in rows if is_missing(row.label, corpus)]
    split = Split(name, {id_: rows for id_, rows in labelled.items() if rows}, len(missing))
    _check_labels(corpus, split, missing)
    try:
        targets(task.problem_type, task.labels, split.labels)
    except CorpusError as error:
        raise CorpusError(
            f"corpus.label_column {corpus.label_column!r}, split {name!r}: {error}"
        ) from error
    return split


def _check_names(column: str, names: list[str], found: Iterable[list[Truth]]) -> None:
    counts = Counter(row.split for rows in found for row in rows)
    for name in names:
        if not counts[name]:
            listed = ", ".join(
                f"{value!r} ({count:,})" for value, count in counts.most_common(NAMED * 3)
            )
            raise CorpusError(
                f"corpus.split_column {column!r}: no document is in the split {name!r}; found {listed or 'no document'}; "
                "name the splits with evaluation.test and evaluation.validation"
            )


def _check_labels(corpus: LabelledCorpusSettings, split: Split, missing: list[str]) -> None:
    column, total = corpus.label_column, len(split) + len(missing)
    if not len(split):
        raise CorpusError(
            f"corpus.label_column {column!r}: not one of {total:,} documents of the split {split.name!r} has a label there; "
            "expected a column of the files, or a hive key of their paths"
        )
    if missing and corpus.unlabelled != "skip":
        first = ", ".join(map(repr, missing[:NAMED]))
        raise CorpusError(
            f"corpus.label_column {column!r}: {len(missing):,} of {total:,} documents of the split {split.name!r} have no label "
            f"there, the first of them {first}; label them, leave them out with corpus.unlabelled: skip, or take empty lists for none of the labels with keep"
        )
