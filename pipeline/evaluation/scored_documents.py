"""Documents of a split: what the checkpoint says of them beside what is true.

Shapes: N documents, L outputs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import CorpusError
from pipeline.tasks.classification import Floats
from pipeline.tasks.targets import ONE_LABEL
from pipeline.terms import ProblemType

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoredDocuments:
    """`truth_NL` is 1 for each label that a document has and 0 for the others; for a regression [N, 1] numbers.

    `logits_NL` are per label: of a binary problem two.
    """

    logits_NL: Floats
    truth_NL: Floats
    tokens_N: Integers
    windows_N: Integers

    def __len__(self) -> int:
        return len(self.logits_NL)

    def where(self, chosen_N: Bools) -> "ScoredDocuments":
        """Picks the documents for which `chosen_N` is true."""
        return ScoredDocuments(
            self.logits_NL[chosen_N],
            self.truth_NL[chosen_N],
            self.tokens_N[chosen_N],
            self.windows_N[chosen_N],
        )


def truth_array(problem_type: ProblemType, target: npt.NDArray[Any], outputs: int) -> Floats:
    """Turns targets as training has them (single_label and binary: an index per document) into `truth_NL`."""
    if problem_type in ONE_LABEL:
        return np.asarray(np.eye(outputs)[target])
    return np.asarray(target, np.float64)


def check_measurable(examples: ScoredDocuments, problem_type: ProblemType, title: str) -> None:
    """Raises CorpusError for documents that no figure can be made of; `title` says which they are."""
    truth_NL = examples.truth_NL
    if not len(examples):
        raise CorpusError(f"{title}: no document of it is labelled; there is nothing to measure")
    if problem_type == "regression":
        if not np.isfinite(truth_NL).all():
            raise CorpusError(
                f"{title}: {int((~np.isfinite(truth_NL)).sum()):,} targets are not finite numbers; expected a number "
                "for each document: correct them, or leave the documents out"
            )
    elif not truth_NL.any():
        raise CorpusError(
            f"{title}: not one of {len(examples):,} documents has a label; expected some that have; check "
            "the label column"
        )
    elif (truth_NL == truth_NL[0]).all():
        raise CorpusError(
            f"{title}: all {len(examples):,} documents have the same label; expected at least two classes: "
            "a single one measures nothing"
        )
