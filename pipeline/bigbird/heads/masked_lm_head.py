"""The head `masked_lm`, transformers' own of BigBirdForMaskedLM."""

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.bigbird.heads.head import Head
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig


class MaskedLmHead(Head):
    """Computes which word of the vocabulary stands there: norm(activation(dense(hidden))) times the word embeddings."""

    stored_names: ClassVar = {
        "dense": "cls.predictions.transform.dense",
        "norm": "cls.predictions.transform.LayerNorm",
        "bias": "cls.predictions.bias",
    }

    def __init__(self, encoder: EncoderConfig, word: nn.Embedding) -> None:
        nn.Module.__init__(self)  # without a HeadConfig: training builds it beside the classifier's head
        self.dense = Linear(encoder.hidden_size, encoder.hidden_size)
        self.norm = nn.LayerNorm(encoder.hidden_size, encoder.norm_eps)
        self.bias = nn.Parameter(torch.empty(encoder.vocab_size))
        self.activation = encoder.activation
        self._word = (word,)  # a tuple, because it is the encoder's part and not ours

    @classmethod
    def of(cls, encoder: EncoderConfig, config: HeadConfig, word: nn.Embedding) -> Self:
        """Builds it on an encoder, whose word embeddings are its last weight."""
        return cls(encoder, word)

    def forward(self, hidden_RD: Tensor) -> Tensor:
        """Computes logits_RV of tokens, float32."""
        inner_RD = self.norm(self.dense.activated(hidden_RD, self.activation))
        return F.linear(inner_RD, self._word[0].weight.float(), self.bias)
