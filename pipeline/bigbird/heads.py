"""What turns the pooled hidden state of a window into logits.

Shapes: W windows, D hidden size, L outputs (one for each label).
"""

from torch import Tensor, nn

from pipeline.bigbird.config import EncoderConfig, HeadConfig
from pipeline.bigbird.linear import Linear


class BigBirdHead(nn.Module):
    """transformers' BigBirdClassificationHead: dense, the encoder's own activation, projection."""

    def __init__(self, config: EncoderConfig, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, outputs)
        self.activation = config.activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, pooled_WD: Tensor) -> Tensor:
        inner_WD = self.dense.activated(self.dropout(pooled_WD), self.activation)
        logits_WL: Tensor = self.out(self.dropout(inner_WD))
        return logits_WL


def build_head(encoder: EncoderConfig, head: HeadConfig, dropout: float) -> BigBirdHead:
    if head.head == "bigbird":
        return BigBirdHead(encoder, len(head.labels), dropout)
    raise NotImplementedError(head.head)  # HeadConfig.from_json refuses it, with its file
