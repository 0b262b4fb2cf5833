"""The head `dense`."""

from typing import ClassVar

from torch import Tensor, nn

from pipeline.bigbird.heads.head import Head
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.terms import Activation


class DenseHead(Head):
    """Computes linear(relu(dense(pooled))), with `dense_size` inner units, or as many as the hidden size."""

    stored_names: ClassVar = {"dense": "fc", "out": "classifier"}

    def __init__(self, encoder: EncoderConfig, config: HeadConfig) -> None:
        super().__init__(encoder, config)
        inner_size = config.dense_size or encoder.hidden_size
        self.dense = Linear(encoder.hidden_size, inner_size)
        self.out = Linear(inner_size, config.outputs(encoder))
        self.activation: Activation = "relu"
        self.dropout = nn.Dropout(0.0)

    def forward(self, pooled_RD: Tensor) -> Tensor:
        """Computes logits_RL, float32."""
        inner_RX = self.dense.activated(self.dropout(pooled_RD), self.activation)
        logits_RL: Tensor = self.out(self.dropout(inner_RX))
        return logits_RL
