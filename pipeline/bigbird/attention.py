"""The attention over one pack; one signature for every implementation, so callers never branch.

An `Attention` has two functions. `every_row` serves all layers but the last. `first_rows` serves
the last layer of a head that looks at a window's first token only: that token is in a global
block, so it sees its whole window, without bias, and nothing else of the layer is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from pipeline.bigbird.cache import at_once
from pipeline.bigbird.layout import AttentionGroup, Layout

# How many scores are computed at once (see cache.py).
SCORES_AT_ONCE_CPU = 2_000_000
SCORES_AT_ONCE = 200_000_000
FIRST_ROW_KEYS_AT_ONCE = 100_000  # one query each: it is the gathered keys that count


class EveryRow(Protocol):
    """Attends from every row of the pack: all layers but, for some heads, the last."""

    def __call__(self, qkv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
        """qkv_TX [T, 3 * D], as the fused projection leaves it -> context_TD."""


class FirstRows(Protocol):
    """Attends from the first row of each window only: the last layer of a head that looks at nothing else."""

    def __call__(self, q_WD: Tensor, kv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
        """Queries of the first rows and kv_TX [T, 2 * D], keys then values -> context_WD."""


@dataclass(frozen=True, slots=True)
class Attention:
    """One implementation of both functions, for one kind of device."""

    every_row: EveryRow
    first_rows: FirstRows


def sdpa_every_row(qkv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
    """Batched products over gathered blocks; any device, differentiable.

    Memory is linear in the pack: a middle block gathers five key blocks, a wide problem its window.
    On a CPU torch's scaled_dot_product_attention takes 2.4 times as long for 64 queries at a time.
    """
    q_BHbE, k_BHbE, v_BHbE = _heads_first(qkv_TX, 3, heads, layout.block_size)
    context_BbHE = torch.empty_like(q_BHbE.transpose(1, 2), memory_format=torch.contiguous_format)
    for group in layout.groups:
        for part in _parts(group, heads, qkv_TX):
            context_GHqE = _attend(
                _gather(q_BHbE, part.query_block_GQ),
                _gather(k_BHbE, part.key_block_GK),
                _gather(v_BHbE, part.key_block_GK),
                part.bias_GS,
            )
            context_YbHE = context_GHqE.transpose(1, 2).reshape(-1, *context_BbHE.shape[1:])
            context_BbHE.index_copy_(0, part.query_block_GQ.flatten(), context_YbHE)
    return context_BbHE.view(layout.rows, -1)


def sdpa_first_rows(q_WD: Tensor, kv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
    """Attends from the first row of each window to all of it; needs the windows' wide groups only. Gives context_WD."""
    k_BHbE, v_BHbE = _heads_first(kv_TX, 2, heads, layout.block_size)
    q_WH1E = q_WD.view(len(q_WD), heads, 1, -1)
    context_WH1E = torch.empty_like(q_WH1E)
    for group in layout.wide:
        for part in _problems(group, FIRST_ROW_KEYS_AT_ONCE // group.bias_GS.shape[1]):
            context_GH1E = _attend(
                q_WH1E[part.window_G],
                _gather(k_BHbE, part.key_block_GK),
                _gather(v_BHbE, part.key_block_GK),
                part.bias_GS,
            )
            context_WH1E.index_copy_(0, part.window_G, context_GH1E)
    return context_WH1E.view_as(q_WD)


SDPA = Attention(sdpa_every_row, sdpa_first_rows)


def _heads_first(x_TX: Tensor, count: int, heads: int, block_size: int) -> tuple[Tensor, ...]:
    """Splits a fused product into `count` tensors [B, H, b, E], so that a head's block is contiguous."""
    x_BbcHE = x_TX.view(-1, block_size, count, heads, x_TX.shape[1] // (count * heads))
    return x_BbcHE.permute(2, 0, 3, 1, 4).contiguous().unbind()


def _parts(group: AttentionGroup, heads: int, x: Tensor) -> Iterator[AttentionGroup]:
    """The group in parts, of whole problems or, where one is too large, of some of its query blocks."""
    row_scores = heads * group.bias_GS.shape[1]
    block_scores = row_scores * (group.bias_GS.shape[1] // group.key_block_GK.shape[1])
    blocks = max(1, at_once(x, cpu=SCORES_AT_ONCE_CPU, otherwise=SCORES_AT_ONCE) // block_scores)
    for part in _problems(group, blocks // group.query_block_GQ.shape[1]):
        for query_block_GQ in torch.split(part.query_block_GQ, blocks, dim=1):
            yield replace(part, query_block_GQ=query_block_GQ)


def _problems(group: AttentionGroup, count: int) -> Iterator[AttentionGroup]:
    tensors = (group.window_G, group.query_block_GQ, group.key_block_GK, group.bias_GS)
    for part in zip(*(torch.split(tensor, max(1, count)) for tensor in tensors), strict=True):
        yield AttentionGroup(*part)


def _gather(x_BHbE: Tensor, block_GK: Tensor) -> Tensor:
    """The rows of the blocks of each problem -> [G, H, K * b, E]."""
    heads = x_BHbE.shape[1]
    head_H = torch.arange(heads, device=block_GK.device)
    row_GHK = block_GK[:, None] * heads + head_H[:, None]
    x_YbE = x_BHbE.flatten(0, 1).index_select(0, row_GHK.flatten())  # faster than x[...], both ways
    return x_YbE.view(len(block_GK), heads, -1, x_BHbE.shape[-1])


def _attend(q_GHqE: Tensor, k_GHSE: Tensor, v_GHSE: Tensor, bias_GS: Tensor) -> Tensor:
    """Computes softmax(q k / sqrt(E) + bias) v; the bias goes into the product, to be added before that is rounded."""
    q_YqE, k_YSE, v_YSE = (x.flatten(0, 1) for x in (q_GHqE, k_GHSE, v_GHSE))
    heads, head_size = q_GHqE.shape[1], q_GHqE.shape[-1]
    bias_Y1S = bias_GS.to(q_YqE.dtype).repeat_interleave(heads, 0)[:, None]
    score_YqS = torch.baddbmm(bias_Y1S, q_YqE, k_YSE.mT, alpha=head_size**-0.5)
    return torch.bmm(torch.softmax(score_YqS, -1), v_YSE).view_as(q_GHqE)
