"""The classifier on its device, and what it computes a pack's loss with.

Weights are float32 always. Where products are in bf16 it is autocast that rounds their operands: as fast as bf16
weights on a CPU (2 layers of 96: 38,000 tokens/s of a core, forward and backward; fp32 20,000), and no second copy is
kept.
"""

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.bigbird.classifier import Classifier
from pipeline.training.batches import Batch
from pipeline.training.objective import Objective


def autocast(device: str, dtype: str) -> AbstractContextManager[None]:
    """Makes products bf16 within the block, if `dtype` is bf16."""
    return torch.autocast(device, torch.bfloat16, enabled=dtype == "bf16")


class Model:
    """A classifier and its loss, on a device; with `head_only` the encoder does not learn."""

    def __init__(
        self, classifier: Classifier, objective: Objective, device: str, dtype: str, *, head_only: bool
    ) -> None:
        self.classifier = classifier.to(device)
        self.objective = objective.to(device)
        self.device = device
        self.dtype = dtype
        self.head_only = head_only
        if head_only:
            self.classifier.encoder.requires_grad_(False)

    @property
    def module(self) -> Classifier:
        return self.classifier

    def begin(self) -> None:
        """Switches train mode on: dropout acts, but not in an encoder that does not learn."""
        self.classifier.train()
        if self.head_only:
            self.classifier.encoder.eval()

    def logits(self, batch: Batch) -> Tensor:
        """Computes logits_WL, in float32; of a binary problem two, the first label's 0."""
        with autocast(self.device, self.dtype):
            logits_WL: Tensor = self.classifier(batch.token_id_T.to(self.device), batch.layout.to(self.device))
        logits_WL = logits_WL.float()
        if self.classifier.head_config.problem_type == "binary":  # the first label's logit is 0
            logits_WL = F.pad(logits_WL, (1, 0))
        return logits_WL

    def sums(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Computes the pack's loss, times its weight, and its weight: two scalars on the model's device."""
        logits_WL = self.logits(batch)
        return self.objective.sums(logits_WL, batch.target.to(self.device), batch.weight_W.to(self.device))
