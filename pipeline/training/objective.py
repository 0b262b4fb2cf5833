"""The loss of each problem type, as sums, so that packs and workers add up to the step of one large batch.

Shapes: W windows (or documents), L labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor

from pipeline.tasks.targets import ONE_LABEL
from pipeline.terms import ProblemType


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss; `weight_L` weighs each label's documents, or in multi_label a label where it applies."""

    problem_type: ProblemType
    weight_L: Tensor | None = None

    def sums(self, logits_WL: Tensor, target: Tensor, weight_W: Tensor) -> tuple[Tensor, Tensor]:
        """Sums the weighted losses, and the weights; their quotient is the loss."""
        if self.problem_type in ONE_LABEL:
            if self.weight_L is not None:
                weight_W = weight_W * self.weight_L[target]
            loss_W = F.cross_entropy(logits_WL, target, reduction="none")
        elif self.problem_type == "multi_label":
            loss_W = F.binary_cross_entropy_with_logits(
                logits_WL, target, reduction="none", pos_weight=self.weight_L
            ).mean(1)
        else:
            loss_W = F.mse_loss(logits_WL, target, reduction="none").mean(1)
        return (loss_W * weight_W).sum(), weight_W.sum()

    def to(self, device: str) -> "Objective":
        """Copies the weights to a device."""
        return Objective(self.problem_type, None if self.weight_L is None else self.weight_L.to(device))


def score(problem_type: ProblemType, logits_DL: npt.NDArray[np.float32], target: npt.NDArray[Any]) -> tuple[str, float]:
    """Computes one figure for people: accuracy, micro F1 at 0.5, or the share of the variance that is explained."""
    if problem_type in ONE_LABEL:
        return "accuracy", float((logits_DL.argmax(1) == target).mean())
    if problem_type == "multi_label":
        given_DL = logits_DL >= 0
        hits = float((given_DL & (target > 0)).sum())
        return "micro F1", 2 * hits / max(1.0, float(given_DL.sum() + target.sum()))
    residual = float(((logits_DL - target) ** 2).sum())
    return "R²", 1 - residual / max(1e-12, float(((target - target.mean(0)) ** 2).sum()))
