"""A document's logits -> label, scores and the columns that say so.

single_label  softmax(logits / temperature); the label is the most probable one, null below its threshold
multi_label   sigmoid(logits / temperature); every label at or above its threshold, 0.5 by default
binary        the one output is the second label's logit and the first one's is 0, so that
              softmax(logits / temperature) is sigmoid(output / temperature); the second label at or above its
              threshold, 0.5 by default, below it the first
regression    the logit itself

Shapes: N documents, L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.identity import digest
from pipeline.schema import DOCUMENT_LOGITS, column
from pipeline.tasks.document_scores import aggregated, lists, matrix
from pipeline.terms import Aggregation, ProblemType

Floats = npt.NDArray[np.float64]

SCORES = pa.list_(pa.struct([pa.field("label", pa.string()), pa.field("score", pa.float32())]))
PROBABILITIES = column("scores", SCORES, "the probability of every label, in the checkpoint's order")
SCORE = column(
    "score",
    pa.float64(),
    "the probability of the label or, where it is null, of the most probable one",
)
MARGIN = column("margin", pa.float64(), "how far score is above the most probable other label's")
DECISIONS: dict[ProblemType, list[pa.Field]] = {
    "single_label": [
        column("label", pa.string(), "the most probable label; null where it is below its threshold"),
        SCORE,
        MARGIN,
        PROBABILITIES,
    ],
    "multi_label": [
        column("labels", pa.list_(pa.string()), "every label at or above its threshold; may be empty"),
        PROBABILITIES,
    ],
    "binary": [
        column("label", pa.string(), "the second label at or above its threshold, else the first"),
        column("score", pa.float64(), "the probability of the label"),
        MARGIN,
        PROBABILITIES,
    ],
    "regression": [column("value", pa.float64(), "the checkpoint's one output as it is")],
}


@dataclass(frozen=True)
class Classification:
    """How scores become labels. The fragments hold the logits: but for `aggregation`, changing it needs no encoder.

    `labels` are the outputs' names; of a binary problem's one output, its name below the threshold and above.
    """

    problem_type: ProblemType
    labels: tuple[str, ...]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0
    aggregation: Aggregation = "mean"

    output = DOCUMENT_LOGITS
    located = False
    questions = ()

    @property
    def fields(self) -> list[pa.Field]:
        """The table's columns that hold the decision."""
        return DECISIONS[self.problem_type]

    @property
    def key(self) -> str:
        """The decision key: digest of all that turns logits into labels."""
        thresholds = sorted(self.thresholds.items())
        return digest("classification/1", self.problem_type, self.labels, thresholds, self.temperature)[:16]

    @property
    def scoring(self) -> dict[str, Any]:
        return {}  # the aggregation is the window policy's

    @property
    def facts(self) -> dict[str, Any]:
        if self.problem_type == "regression":
            return {"problem_type": self.problem_type}
        return {
            "problem_type": self.problem_type,
            "labels": list(self.labels),
            "temperature": self.temperature,
            "thresholds": {label: self.threshold(label) for label in self.labels},
        }

    def outputs(self, logits: pa.Table) -> pa.Array:
        return aggregated(logits, self.aggregation)

    def decide(self, outputs: pa.Array) -> list[pa.Array]:
        logits_NL = self.per_label(matrix(outputs))
        if self.problem_type == "regression":
            return [pa.array(logits_NL[:, 0], pa.float64())]
        scores_NL = self.scores(logits_NL)
        if self.problem_type == "multi_label":
            return [self._labels(scores_NL), self._scores(scores_NL)]
        return [*self._one(scores_NL), self._scores(scores_NL)]

    def per_label(self, outputs: Floats) -> Floats:
        """Gives logits_NL for the checkpoint's outputs [N, outputs], of which a binary problem has one."""
        if self.problem_type != "binary":
            return outputs
        return np.concatenate([np.zeros_like(outputs), outputs], axis=1)

    def scores(self, logits_NL: Floats) -> Floats:
        """Computes each label's probability, scores_NL; of a binary problem they sum to one."""
        scaled_NL = logits_NL / self.temperature
        return sigmoid(scaled_NL) if self.problem_type == "multi_label" else softmax(scaled_NL)

    def threshold(self, label: str) -> float:
        """Gives a label's fitted threshold, or the default. A binary problem is decided by its second label's."""
        default = 0.0 if self.problem_type == "single_label" else 0.5
        return self.thresholds.get(label, default)

    def given(self, scores_NL: Floats) -> npt.NDArray[np.bool_]:
        """Decides which labels each document gets [N, L]; in single_label one at most, of a binary problem one."""
        threshold_L = np.array([self.threshold(label) for label in self.labels])
        over_NL = np.asarray(scores_NL >= threshold_L)
        if self.problem_type == "single_label":
            over_NL &= np.arange(len(self.labels)) == scores_NL.argmax(1)[:, None]
        if self.problem_type == "binary":
            over_NL[:, 0] = ~over_NL[:, 1]
        return over_NL

    def _one(self, scores_NL: Floats) -> list[pa.Array]:
        given_NL = self.given(scores_NL)
        named_N = given_NL.any(1)
        index_N = np.where(named_N, given_NL.argmax(1), scores_NL.argmax(1))
        label_N = pa.array(self.labels, pa.string()).take(pa.array(index_N))
        label_N = pc.if_else(pa.array(named_N), label_N, pa.scalar(None, pa.string()))
        score_N = np.take_along_axis(scores_NL, index_N[:, None], 1)[:, 0]
        others_NL = np.where(np.arange(len(self.labels)) == index_N[:, None], 0.0, scores_NL)
        return [label_N, pa.array(score_N), pa.array(score_N - others_NL.max(1))]

    def _labels(self, scores_NL: Floats) -> pa.Array:
        given_NL = self.given(scores_NL)
        return lists(
            pa.array(np.array(self.labels, object)[np.nonzero(given_NL)[1]], pa.string()),
            given_NL.sum(1),
        )

    def _scores(self, scores_NL: Floats) -> pa.Array:
        n, _ = scores_NL.shape
        label = pa.array(self.labels * n, pa.string())
        score = pa.array(scores_NL.ravel().astype(np.float32))
        structs = pa.StructArray.from_arrays([label, score], fields=list(SCORES.value_type))
        return lists(structs, np.full(n, len(self.labels)))


def softmax(logits_NL: Floats) -> Floats:
    """Computes probabilities whose rows sum to one, without overflow."""
    exp_NL = np.exp(logits_NL - logits_NL.max(1, keepdims=True))
    return np.asarray(exp_NL / exp_NL.sum(1, keepdims=True))


def sigmoid(logits_NL: Floats) -> Floats:
    """Computes 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits_NL)))
