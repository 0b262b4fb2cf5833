"""A plan's fragments beside the labels of its corpus: what an evaluation measures. No ray.

Shapes: N documents, L outputs.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.slices import Unit
from pipeline.errors import CorpusError
from pipeline.evaluation.scored_documents import ScoredDocuments, truth_array
from pipeline.planning.plan import Plan
from pipeline.planning.splits import Split, classification
from pipeline.storage.objects import TRANSFERS
from pipeline.tasks.targets import targets


@dataclass(frozen=True, slots=True)
class Joined:
    """A split's documents that could be labelled; why others could not, and how many of them."""

    examples: ScoredDocuments
    failed: Counter[str]


def join(plan: Plan, split: Split) -> Joined:
    """Joins a split's labels with the logits of its units' fragments, by position.

    Raises CorpusError where not one has any.
    """
    labels: list[Any] = []
    tables, failed = [], Counter(split.unreadable)
    for unit, documents in _with_fragments(plan, split):
        label_at = {document.position: document.label for document in split.units[unit]}
        of_split = documents.filter(pc.is_in(documents["position"], pa.array(list(label_at), pa.int64())))
        failed.update(of_split["reason"].drop_null().to_pylist())
        scored = of_split.filter(pc.is_null(of_split["reason"]))
        labels += [label_at[position] for position in scored["position"].to_pylist()]
        tables.append(scored.select(["n_tokens", "n_windows", "logits"]))
    if not labels:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in failed.most_common())
        raise CorpusError(
            f"{split.title}: not one of its {len(split):,} documents could be labelled ({reasons}); repair them"
        )
    return Joined(_examples(plan, pa.concat_tables(tables), labels), failed)


def _examples(plan: Plan, documents: pa.Table, labels: list[Any]) -> ScoredDocuments:
    task = classification(plan)
    logits = documents["logits"].combine_chunks().flatten().to_numpy()
    logits_NL = task.per_label(logits.reshape(len(documents), -1).astype(np.float64))
    target = targets(task.problem_type, task.labels, labels)
    return ScoredDocuments(
        logits_NL,
        truth_array(task.problem_type, target, len(task.labels)),
        documents["n_tokens"].to_numpy().astype(np.int64),
        documents["n_windows"].to_numpy().astype(np.int64),
    )


def _with_fragments(plan: Plan, split: Split) -> Iterator[tuple[Unit, pa.Table]]:
    units = list(split.units)
    for start in range(0, len(units), TRANSFERS):
        some = units[start : start + TRANSFERS]
        ids = [unit.id(plan.scoring.key) for unit in some]
        yield from zip(some, plan.fragments.read(ids), strict=True)
