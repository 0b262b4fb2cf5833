"""The attention as Triton kernels over packed windows: CUDA, no gradients.

`every_row` has one program for each head and tile of queries. It reads the fused product in place
and computes which key blocks its tile sees, so there is no index table and nothing is gathered. A
middle tile takes 5 blocks, and a tile that sees its whole window up to 64: those start first, so
that they don't end last. `first_rows` has one program for each head and window.

The softmax runs online, in float32 and to the base 2. bfloat16 uses the tensor cores; float32 is
multiplied as float32 ("ieee"), never as TF32.
"""

import math
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.bigbird.attention import Attention
from pipeline.bigbird.layout import Layout

LOG2_E = math.log2(math.e)

# From compiling for sm_80 to sm_90, not from timing: up to a head size of 128 nothing spills, and
# with 2 stages as many programs fit on a multiprocessor as can (docs/encoder.md).
TILE_BYTES = 128  # a tile has up to 64 queries, or keys, of bfloat16, and 32 of float32
PIPELINE_STAGES = 2
FIRST_ROWS_ELEMENTS = 4096  # of keys, in one step of a `first_rows` program


@triton.jit  # type: ignore[untyped-decorator]
def every_row_kernel(  # type: ignore[no-untyped-def]
    qkv_ptr,
    context_ptr,
    tile_ptr,
    full_attention_limit,
    scale,
    first_block_bias,
    H: tl.constexpr,
    E: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
):
    """`scale` and `first_block_bias` are to the base 2. TILE divides BLOCK."""
    head = tl.program_id(0) % H
    tile_ptr += tl.program_id(0) // H * 3
    first_row, length, first_query = tl.load(tile_ptr), tl.load(tile_ptr + 1), tl.load(tile_ptr + 2)
    i = first_query // BLOCK
    last = (length - 1) // BLOCK
    wide = (length <= full_attention_limit) | (i == 0) | (i == last)
    # The key blocks are 0, then low to high, then the last one if that is not among them.
    low = tl.where(wide, 1, tl.maximum(i - 1, 1))
    high = tl.where(wide, last, i + 1)
    blocks = 1 + (high - low + 1) + tl.where(high < last, 1, 0)
    bias = tl.where(wide, 0.0, first_block_bias)

    offset_q, offset_E = tl.arange(0, TILE), tl.arange(0, E)
    query_row_q = (first_row + first_query + offset_q).to(tl.int64)
    q_qE = tl.load(qkv_ptr + query_row_q[:, None] * (3 * H * E) + head * E + offset_E[None, :])
    top_q = tl.full([TILE], float("-inf"), tl.float32)
    norm_q = tl.zeros([TILE], tl.float32)
    context_qE = tl.zeros([TILE, E], tl.float32)
    for step in tl.range(0, blocks * (BLOCK // TILE)):
        j = step // (BLOCK // TILE)
        block = tl.where(j == 0, 0, tl.where(low + j - 1 <= high, low + j - 1, last))
        key_k = block * BLOCK + step % (BLOCK // TILE) * TILE + offset_q
        key_row_k = (first_row + key_k).to(tl.int64)
        k_Ek = tl.load(qkv_ptr + key_row_k[None, :] * (3 * H * E) + (H + head) * E + offset_E[:, None])
        v_kE = tl.load(qkv_ptr + key_row_k[:, None] * (3 * H * E) + (2 * H + head) * E + offset_E[None, :])
        score_qk = tl.dot(q_qE, k_Ek, input_precision="ieee") * scale + tl.where(j == 0, bias, 0.0)
        # The first step has a real key always, so `top_q` is finite from there on.
        score_qk = tl.where(key_k[None, :] < length, score_qk, float("-inf"))
        new_top_q = tl.maximum(top_q, tl.max(score_qk, 1))
        p_qk = tl.exp2(score_qk - new_top_q[:, None])
        shrink_q = tl.exp2(top_q - new_top_q)
        norm_q = norm_q * shrink_q + tl.sum(p_qk, 1)
        context_qE = context_qE * shrink_q[:, None]
        context_qE += tl.dot(p_qk.to(v_kE.dtype), v_kE, input_precision="ieee")
        top_q = new_top_q
    context_qE = context_qE / norm_q[:, None]
    tl.store(
        context_ptr + query_row_q[:, None] * (H * E) + head * E + offset_E[None, :],
        context_qE.to(context_ptr.dtype.element_ty),
    )


def tile_size(block_size: int, element_size: int) -> int:
    """Counts the queries, or keys, of a tile: it divides the block, and takes at most TILE_BYTES a column."""
    return min(block_size, TILE_BYTES // element_size)


def warps(tile: int, element_size: int) -> int:
    """Counts the warps of a program whose tile has `tile` queries of `element_size` bytes."""
    return tile * element_size // 32


def every_row(qkv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
    """Attends from every row of qkv_TX [T, 3 * D], contiguous and on the GPU; gives context_TD."""
    _check(qkv_TX)
    head_size = qkv_TX.shape[1] // (3 * heads)
    tile = tile_size(layout.block_size, qkv_TX.element_size())
    tile_A3 = _tiles_of_queries(layout, tile)
    context_TD = qkv_TX.new_empty(layout.rows, heads * head_size)
    every_row_kernel[(len(tile_A3) * heads,)](
        qkv_TX,
        context_TD,
        tile_A3,
        layout.full_attention_limit,
        head_size**-0.5 * LOG2_E,
        layout.first_block_bias * LOG2_E,
        heads,
        head_size,
        layout.block_size,
        tile,
        num_warps=warps(tile, qkv_TX.element_size()),
        num_stages=PIPELINE_STAGES,
    )
    return context_TD


@lru_cache(maxsize=1)  # every layer of a pass asks for the same layout
def _tiles_of_queries(layout: Layout, tile: int) -> Tensor:
    """tile_A3, int32: first row and length of the window, and the tile's first query in it.

    Computed where the layout is, without waiting for the device; the costliest first.
    """
    count = layout.rows // tile
    tiles_W = layout.blocks_W * (layout.block_size // tile)
    window_A = torch.repeat_interleave(tiles_W, output_size=count)
    first_row_A = layout.first_row_W[window_A]
    length_A = layout.length_W[window_A]
    blocks_A = layout.blocks_W[window_A]
    first_query_A = torch.arange(count, device=tiles_W.device) * tile - first_row_A
    i_A = first_query_A // layout.block_size
    wide_A = (length_A <= layout.full_attention_limit) | (i_A == 0) | (i_A == blocks_A - 1)
    cost_A = torch.where(wide_A, blocks_A, 5)
    order_A = cost_A.argsort(descending=True, stable=True)
    return torch.stack([first_row_A, length_A, first_query_A], dim=1)[order_A].int()


@triton.jit  # type: ignore[untyped-decorator]
def first_rows_kernel(  # type: ignore[no-untyped-def]
    q_ptr,
    kv_ptr,
    context_ptr,
    first_row_ptr,
    length_ptr,
    scale,
    H: tl.constexpr,
    E: tl.constexpr,
    KEYS: tl.constexpr,
):
    """Each of the k lanes has a softmax of its own over every k-th key; they are merged at the end."""
    window, head = tl.program_id(0) // H, tl.program_id(0) % H
    first_row, length = tl.load(first_row_ptr + window), tl.load(length_ptr + window)
    offset_k, offset_E = tl.arange(0, KEYS), tl.arange(0, E)
    query_E = tl.program_id(0).to(tl.int64) * E + offset_E
    q_E = tl.load(q_ptr + query_E).to(tl.float32) * scale
    top_k = tl.full([KEYS], -1e38, tl.float32)  # finite, for lanes that never see a key
    norm_k = tl.zeros([KEYS], tl.float32)
    context_kE = tl.zeros([KEYS, E], tl.float32)
    for first_key in tl.range(0, length, KEYS):
        key_k = first_key + offset_k
        seen_k = key_k < length
        key_row_k = (first_row + key_k).to(tl.int64)
        row_ptr_kE = kv_ptr + key_row_k[:, None] * (2 * H * E) + head * E + offset_E[None, :]
        k_kE = tl.load(row_ptr_kE, mask=seen_k[:, None], other=0.0).to(tl.float32)
        v_kE = tl.load(row_ptr_kE + H * E, mask=seen_k[:, None], other=0.0).to(tl.float32)
        score_k = tl.where(seen_k, tl.sum(k_kE * q_E[None, :], 1), float("-inf"))
        new_top_k = tl.maximum(top_k, score_k)
        p_k = tl.exp2(score_k - new_top_k)
        shrink_k = tl.exp2(top_k - new_top_k)
        norm_k = norm_k * shrink_k + p_k
        context_kE = context_kE * shrink_k[:, None] + p_k[:, None] * v_kE
        top_k = new_top_k
    weight_k = tl.exp2(top_k - tl.max(top_k, 0))
    context_E = tl.sum(context_kE * weight_k[:, None], 0) / tl.sum(norm_k * weight_k, 0)
    tl.store(context_ptr + query_E, context_E.to(context_ptr.dtype.element_ty))


def first_rows(q_WD: Tensor, kv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
    """Attends from the first row of each window, q_WD, to keys and values kv_TX [T, 2 * D]; gives context_WD."""
    _check(q_WD, kv_TX)
    head_size = q_WD.shape[1] // heads
    context_WD = torch.empty_like(q_WD)
    first_rows_kernel[(len(q_WD) * heads,)](
        q_WD,
        kv_TX,
        context_WD,
        layout.first_row_W,
        layout.length_W,
        head_size**-0.5 * LOG2_E,
        heads,
        head_size,
        FIRST_ROWS_ELEMENTS // head_size,
    )
    return context_WD


def _check(*tensors: Tensor) -> None:
    for tensor in tensors:
        assert tensor.is_contiguous()
        assert not (tensor.requires_grad and torch.is_grad_enabled()), "no gradients: train on sdpa"


TRITON = Attention(every_row, first_rows)
