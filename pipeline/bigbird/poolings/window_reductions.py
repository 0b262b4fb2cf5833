"""Sums and maxima over the tokens of each window.

Rows are reduced in each block, then the blocks of each window in their order: a window's result does not hang on its
neighbours, and no atomic addition makes it vary.
"""

import torch
from torch import Tensor

from pipeline.bigbird.layout import Layout


def window_sums(x_TX: Tensor, layout: Layout) -> Tensor:
    """Computes sum_WX over the tokens of each window; padding rows do not count."""
    return _over_windows("sum", _blocks(x_TX, layout, 0).sum(1), layout)


def window_maxima(x_TX: Tensor, layout: Layout) -> Tensor:
    """Computes maximum_WX over the tokens of each window; padding rows do not count."""
    return _over_windows("max", _blocks(x_TX, layout, -torch.inf).amax(1), layout)


def _blocks(x_TX: Tensor, layout: Layout, padding: float) -> Tensor:
    """x_BbX, with `padding` in the padding rows."""
    padded_TX = x_TX.masked_fill(~layout.real_T[:, None], padding)
    return padded_TX.view(-1, layout.block_size, padded_TX.shape[1])


def _over_windows(reduction: str, x_BX: Tensor, layout: Layout) -> Tensor:
    # "unsafe" leaves out a check of the lengths, for which a GPU would have to be waited for.
    return torch.segment_reduce(x_BX, reduction, lengths=layout.blocks_W, unsafe=True)
