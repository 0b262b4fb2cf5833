"""The attention with a dense mask, written from the rule alone: obviously right, for tests only.

It reads from the layout what a window is and how long, not who attends to whom. Memory is quadratic
in the pack.
"""

import math

import torch
from torch import Tensor

from pipeline.bigbird.attention import Attention
from pipeline.bigbird.layout import Layout


def dense_bias(layout: Layout) -> Tensor:
    """bias_TT: what is added to the score of query row t and key row u."""
    bias_TT = torch.full((layout.rows, layout.rows), -math.inf)
    windows = zip(layout.first_row_W.tolist(), layout.length_W.tolist(), strict=True)
    for first_row, length in windows:
        size = layout.block_size
        blocks = -(-length // size)
        for query in range(blocks):
            for key, bias in _seen_blocks(query, blocks, length, layout).items():
                rows = slice(first_row + query * size, first_row + (query + 1) * size)
                columns = slice(first_row + key * size, first_row + min((key + 1) * size, length))
                bias_TT[rows, columns] = bias
    return bias_TT


def _seen_blocks(query: int, blocks: int, length: int, layout: Layout) -> dict[int, float]:
    """The key blocks that a query block sees, and what is added to their scores."""
    if length <= layout.full_attention_limit or query in (0, blocks - 1):
        return dict.fromkeys(range(blocks), 0.0)
    seen = dict.fromkeys({0, query - 1, query, query + 1, blocks - 1}, 0.0)
    return seen | {0: layout.first_block_bias}


def _attend(q_THE: Tensor, k_THE: Tensor, v_THE: Tensor, bias_TT: Tensor) -> Tensor:
    scores_HTT = torch.einsum("qhe,khe->hqk", q_THE, k_THE) / math.sqrt(q_THE.shape[-1])
    weights_HTT = (scores_HTT + bias_TT).softmax(-1)
    return torch.einsum("hqk,khe->qhe", weights_HTT, v_THE).flatten(1)


def every_row(qkv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
    """Attends from every row of qkv_TX [T, 3 * D], in the dtype that it has; gives context_TD."""
    q_THE, k_THE, v_THE = qkv_TX.view(layout.rows, 3, heads, -1).unbind(1)
    return _attend(q_THE, k_THE, v_THE, dense_bias(layout).to(qkv_TX.device))


def first_rows(q_WD: Tensor, kv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
    """Attends from the first row of each window, q_WD, to keys and values kv_TX [T, 2 * D]; gives context_WD."""
    k_THE, v_THE = kv_TX.view(layout.rows, 2, heads, -1).unbind(1)
    bias_WT = dense_bias(layout).to(q_WD.device)[layout.first_row_W]
    return _attend(q_WD.view(len(q_WD), heads, -1), k_THE, v_THE, bias_WT)


REFERENCE = Attention(every_row, first_rows)
