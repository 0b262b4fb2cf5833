"""The pooling `pooler`, transformers' own."""

from typing import ClassVar

from torch import Tensor

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.bigbird.poolings.pooling import Pooling


class Pooler(Pooling):
    """Computes tanh(dense(hidden)) of each window's first token."""

    first_rows_only = True
    stored_names: ClassVar = {"dense": "bert.pooler"}

    def __init__(self, encoder: EncoderConfig, config: HeadConfig) -> None:
        super().__init__(encoder, config)
        self.dense = Linear(encoder.hidden_size, encoder.hidden_size)

    def forward(self, first_WD: Tensor, layout: Layout) -> Tensor:
        """Computes pooled_WD, float32."""
        pooled_WD: Tensor = self.dense(first_WD.float())
        return pooled_WD.tanh()
