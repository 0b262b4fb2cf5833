"""The head `linear`, and transformers' own of BigBirdForTokenClassification."""

from typing import ClassVar

from torch import Tensor, nn

from pipeline.bigbird.heads.head import Head
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig


class LinearHead(Head):
    """Computes linear(pooled)."""

    stored_names: ClassVar = {"out": "classifier"}

    def __init__(self, encoder: EncoderConfig, config: HeadConfig) -> None:
        super().__init__(encoder, config)
        self.out = Linear(encoder.hidden_size, config.outputs(encoder))
        self.dropout = nn.Dropout(0.0)

    def forward(self, pooled_RD: Tensor) -> Tensor:
        """Computes logits_RL, float32."""
        logits_RL: Tensor = self.out(self.dropout(pooled_RD))
        return logits_RL
