"""A document's logits -> label, scores and the columns that say so.

single_label  softmax(logits / temperature); the label is the most probable one, null below its threshold
multi_label   sigmoid(logits / temperature); every label at or above its threshold, 0.5 by default
regression    the logit itself

Shapes: N documents, L labels.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

ProblemType = Literal["single_label", "multi_label", "regression"]
Floats = npt.NDArray[np.float64]

SCORES = pa.list_(pa.struct([pa.field("label", pa.string()), pa.field("score", pa.float32())]))
DECISIONS: dict[ProblemType, list[pa.Field]] = {
    "single_label": [
        pa.field("label", pa.string()),
        pa.field("score", pa.float64()),  # probability of the most probable label
        pa.field("margin", pa.float64()),  # ahead of the second
        pa.field("scores", SCORES),
    ],
    "multi_label": [pa.field("labels", pa.list_(pa.string())), pa.field("scores", SCORES)],
    "regression": [pa.field("value", pa.float64())],
}


@dataclass(frozen=True)
class Classification:
    """How scores become labels. Changing it needs no encoder: the fragments hold the logits."""

    problem_type: ProblemType
    labels: tuple[str, ...]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0

    @property
    def fields(self) -> list[pa.Field]:
        """The table's columns that hold the decision."""
        return DECISIONS[self.problem_type]

    @property
    def key(self) -> str:
        """The decision key: digest of all that turns logits into labels."""
        decides = [
            self.problem_type,
            self.labels,
            sorted(self.thresholds.items()),
            self.temperature,
        ]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]

    def decide(self, logits_NL: Floats) -> list[pa.Array]:
        """Finite logits -> one array per field of `fields`, N rows each."""
        if self.problem_type == "regression":
            return [pa.array(logits_NL[:, 0], pa.float64())]
        scores_NL = self.scores(logits_NL)
        if self.problem_type == "multi_label":
            return [self._labels(scores_NL), self._scores(scores_NL)]
        return [*self._best(scores_NL), self._scores(scores_NL)]

    def scores(self, logits_NL: Floats) -> Floats:
        """Each label's probability."""
        scaled_NL = logits_NL / self.temperature
        return sigmoid(scaled_NL) if self.problem_type == "multi_label" else softmax(scaled_NL)

    def given(self, scores_NL: Floats) -> npt.NDArray[np.bool_]:
        """Which labels each document gets; in single_label one at most."""
        default = 0.5 if self.problem_type == "multi_label" else 0.0
        threshold_L = np.array([self.thresholds.get(label, default) for label in self.labels])
        over_NL = np.asarray(scores_NL >= threshold_L)
        if self.problem_type == "single_label":
            over_NL &= np.arange(len(self.labels)) == scores_NL.argmax(1)[:, None]
        return over_NL

    def _best(self, scores_NL: Floats) -> list[pa.Array]:
        ranked_NL = np.sort(scores_NL, axis=1)
        score_N = ranked_NL[:, -1]
        margin_N = score_N - ranked_NL[:, -2] if len(self.labels) > 1 else score_N
        label_N = pa.array(self.labels, pa.string()).take(pa.array(scores_NL.argmax(1)))
        named_N = pa.array(self.given(scores_NL).any(1))
        label_N = pc.if_else(named_N, label_N, pa.scalar(None, pa.string()))
        return [label_N, pa.array(score_N), pa.array(margin_N)]

    def _labels(self, scores_NL: Floats) -> pa.Array:
        given_NL = self.given(scores_NL)
        return _lists(
            pa.array(np.array(self.labels, object)[np.nonzero(given_NL)[1]], pa.string()),
            given_NL.sum(1),
        )

    def _scores(self, scores_NL: Floats) -> pa.Array:
        n, _ = scores_NL.shape
        label = pa.array(self.labels * n, pa.string())
        score = pa.array(scores_NL.ravel().astype(np.float32))
        structs = pa.StructArray.from_arrays([label, score], fields=list(SCORES.value_type))
        return _lists(structs, np.full(n, len(self.labels)))


def softmax(logits_NL: Floats) -> Floats:
    """Rows that sum to one, without overflow."""
    exp_NL = np.exp(logits_NL - logits_NL.max(1, keepdims=True))
    return np.asarray(exp_NL / exp_NL.sum(1, keepdims=True))


def sigmoid(logits_NL: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits_NL)))


def _lists(values: pa.Array, lengths: npt.NDArray[Any]) -> pa.ListArray:
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), values
    )
