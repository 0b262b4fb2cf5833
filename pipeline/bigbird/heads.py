"""What turns pooled hidden states into logits."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.bigbird.linear import Linear
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.terms import Activation


class LinearHead(nn.Module):
    def __init__(self, size: int, outputs: int) -> None:
        super().__init__()
        self.out = nn.Linear(size, outputs)
        self.dropout = nn.Dropout(0.0)

    def forward(self, pooled_RD: Tensor) -> Tensor:
        logits_RL: Tensor = self.out(self.dropout(pooled_RD))
        return logits_RL


class DenseHead(nn.Module):
    """Dense, activation, projection: transformers' BigBirdClassificationHead, if the activation is the encoder's."""

    def __init__(self, size: int, inner_size: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.dense = Linear(size, inner_size)
        self.out = nn.Linear(inner_size, outputs)
        self.activation = activation
        self.dropout = nn.Dropout(0.0)

    def forward(self, pooled_RD: Tensor) -> Tensor:
        inner_RX = self.dense.activated(self.dropout(pooled_RD), self.activation)
        logits_RL: Tensor = self.out(self.dropout(inner_RX))
        return logits_RL


class QuestionAnsweringHead(nn.Module):
    """transformers' BigBirdForQuestionAnsweringHead: one more feed-forward layer, then the projection."""

    def __init__(self, config: EncoderConfig, outputs: int) -> None:
        super().__init__()
        size = config.hidden_size
        self.up = Linear(size, config.intermediate_size)
        self.down = Linear(config.intermediate_size, size)
        self.norm = nn.LayerNorm(size, config.norm_eps)
        self.out = nn.Linear(size, outputs)
        self.activation = config.activation
        self.dropout = nn.Dropout(0.0)

    def forward(self, hidden_RD: Tensor) -> Tensor:
        inner_RF = self.up.activated(self.dropout(hidden_RD), self.activation)
        update_RD = self.dropout(self.down(inner_RF))
        logits_RL: Tensor = self.out(self.norm(update_RD + hidden_RD))
        return logits_RL


class MaskedLmHead(nn.Module):
    """transformers' BigBirdOnlyMLMHead, whose last weight is that of the word embeddings."""

    def __init__(self, config: EncoderConfig, word: nn.Embedding) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.bias = nn.Parameter(torch.empty(config.vocab_size))
        self.activation = config.activation
        self._word = (word,)  # a tuple, because it is the encoder's part and not ours

    def forward(self, hidden_RD: Tensor) -> Tensor:
        inner_RD = self.norm(self.dense.activated(hidden_RD, self.activation))
        return F.linear(inner_RD, self._word[0].weight.float(), self.bias)


def build_head(encoder: EncoderConfig, head: HeadConfig, word: nn.Embedding) -> nn.Module:
    """The head that `head` describes; `word` are the encoder's word embeddings."""
    size, outputs = encoder.hidden_size, head.outputs(encoder)
    match head.head:
        case "bigbird":
            return DenseHead(size, size, outputs, encoder.activation)
        case "dense":
            return DenseHead(size, head.dense_size or size, outputs, "relu")
        case "linear":
            return LinearHead(size, outputs)
        case "question_answering":
            return QuestionAnsweringHead(encoder, outputs)
        case "masked_lm":
            return MaskedLmHead(encoder, word)
        case "none":
            return nn.Identity()
