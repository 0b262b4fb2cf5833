"""What turns the pooled hidden state of a window into logits.

Shapes: W windows, D hidden size, L outputs (one for each label).
"""

from torch import Tensor, nn

from pipeline.bigbird.config import Activation, EncoderConfig, HeadConfig
from pipeline.bigbird.linear import Linear


class LinearHead(nn.Module):
    def __init__(self, size: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.out = nn.Linear(size, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pooled_WD: Tensor) -> Tensor:
        logits_WL: Tensor = self.out(self.dropout(pooled_WD))
        return logits_WL


class DenseHead(nn.Module):
    """Dense, activation, projection; with the encoder's own activation it is transformers' BigBirdClassificationHead."""

    def __init__(
        self, size: int, inner_size: int, outputs: int, activation: Activation, dropout: float
    ) -> None:
        super().__init__()
        self.dense = Linear(size, inner_size)
        self.out = nn.Linear(inner_size, outputs)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, pooled_WD: Tensor) -> Tensor:
        inner_WX = self.dense.activated(self.dropout(pooled_WD), self.activation)
        logits_WL: Tensor = self.out(self.dropout(inner_WX))
        return logits_WL


def build_head(encoder: EncoderConfig, head: HeadConfig, dropout: float) -> LinearHead | DenseHead:
    size, outputs = encoder.hidden_size, len(head.labels)
    match head.head:
        case "bigbird":
            return DenseHead(size, size, outputs, encoder.activation, dropout)
        case "dense":
            return DenseHead(size, head.dense_size or size, outputs, "relu", dropout)
        case "linear":
            return LinearHead(size, outputs, dropout)
