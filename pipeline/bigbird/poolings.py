"""What of the hidden states a head gets: one row for each window, or one for each token.

All in float32, whatever the encoder's dtype. Rows are reduced in each block, then the blocks of each window in their
order: a window's result does not hang on its neighbours, and no atomic addition makes it vary. Padding rows never
enter.
"""

import torch
from torch import Tensor, nn

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig

FIRST_ROW_POOLINGS = (
    "cls",
    "pooler",
)  # they get the first row of each window, the others every row


class Cls(nn.Module):
    def forward(self, first_WD: Tensor, layout: Layout) -> Tensor:
        return first_WD.float()


class Pooler(nn.Module):
    """transformers' own: the first token through dense and tanh."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.dense = Linear(size, size)

    def forward(self, first_WD: Tensor, layout: Layout) -> Tensor:
        pooled_WD: Tensor = self.dense(first_WD.float())
        return pooled_WD.tanh()


class Mean(nn.Module):
    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        return window_sums(hidden_TD.float(), layout) / layout.length_W[:, None]


class Max(nn.Module):
    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        return window_maxima(hidden_TD.float(), layout)


class AttentionPooling(nn.Module):
    """Each token's weight is the softmax, over its window, of its score: linear, or dense, tanh, linear."""

    def __init__(self, size: int, inner_size: int | None) -> None:
        super().__init__()
        self.dense = Linear(size, inner_size) if inner_size else None
        self.out = Linear(inner_size or size, 1)

    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        hidden_TD = hidden_TD.float()
        inner_TX = hidden_TD if self.dense is None else self.dense(hidden_TD).tanh()
        # Padding is masked before the exponential: after it, gradients would be 0 times infinity.
        score_T1 = self.out(inner_TX).masked_fill(~layout.real_T[:, None], -torch.inf)
        highest_W1 = window_maxima(score_T1.detach(), layout)
        weight_T1 = (score_T1 - highest_W1[layout.window_T]).exp()
        return window_sums(weight_T1 * hidden_TD, layout) / window_sums(weight_T1, layout)


class EveryToken(nn.Module):
    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        return hidden_TD[layout.row_N].float()


def window_sums(x_TX: Tensor, layout: Layout) -> Tensor:
    """sum_WX over the tokens of each window."""
    return _over_windows("sum", _blocks(x_TX, layout, 0).sum(1), layout)


def window_maxima(x_TX: Tensor, layout: Layout) -> Tensor:
    """maximum_WX over the tokens of each window."""
    return _over_windows("max", _blocks(x_TX, layout, -torch.inf).amax(1), layout)


def _blocks(x_TX: Tensor, layout: Layout, padding: float) -> Tensor:
    """x_BbX, with `padding` in the padding rows."""
    kept_TX = x_TX.masked_fill(~layout.real_T[:, None], padding)
    return kept_TX.view(-1, layout.block_size, kept_TX.shape[1])


def _over_windows(reduction: str, x_BX: Tensor, layout: Layout) -> Tensor:
    # "unsafe" leaves out a check of the lengths, for which a GPU would have to be waited for.
    return torch.segment_reduce(x_BX, reduction, lengths=layout.blocks_W, unsafe=True)


def build_pooling(encoder: EncoderConfig, head: HeadConfig) -> nn.Module:
    match head.pooling:
        case "cls":
            return Cls()
        case "pooler":
            return Pooler(encoder.hidden_size)
        case "mean":
            return Mean()
        case "max":
            return Max()
        case "attention":
            return AttentionPooling(encoder.hidden_size, head.attention_size)
        case "tokens":
            return EveryToken()
