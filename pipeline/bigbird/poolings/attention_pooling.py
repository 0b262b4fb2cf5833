"""The pooling `attention`."""

from typing import ClassVar

import torch
from torch import Tensor

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.bigbird.poolings.pooling import Pooling
from pipeline.bigbird.poolings.window_reductions import window_maxima, window_sums


class AttentionPooling(Pooling):
    """Computes the mean over each window's tokens, each weighted by the softmax, over its window, of its score.

    A score is linear(hidden), or, where there is an `attention_size`, linear(tanh(dense(hidden))) with so many inner
    units.
    """

    stored_names: ClassVar = {"dense": "attention.dense", "out": "attention.out"}

    def __init__(self, encoder: EncoderConfig, config: HeadConfig) -> None:
        super().__init__(encoder, config)
        size, inner_size = encoder.hidden_size, config.attention_size
        self.dense = Linear(size, inner_size) if inner_size else None
        self.out = Linear(inner_size or size, 1)

    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        """Computes pooled_WD, float32."""
        hidden_TD = hidden_TD.float()
        inner_TX = hidden_TD if self.dense is None else self.dense(hidden_TD).tanh()
        # Padding is masked before the exponential: after it, gradients would be 0 times infinity.
        score_T1 = self.out(inner_TX).masked_fill(~layout.real_T[:, None], -torch.inf)
        highest_W1 = window_maxima(score_T1.detach(), layout)
        weight_T1 = (score_T1 - highest_W1[layout.window_T]).exp()
        return window_sums(weight_T1 * hidden_TD, layout) / window_sums(weight_T1, layout)
