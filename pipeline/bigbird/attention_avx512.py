"""The attention in C for CPUs, in bfloat16: no gradients. What it computes and how: attention_avx512.c.

Between bfloat16 in and out all is float32, so its error is a third of that of torch's products in bfloat16.
"""

import ctypes
from functools import partial

import torch
from torch import Tensor

from pipeline.bigbird.attention import Attention
from pipeline.bigbird.avx512_library import operators_in_c, spread
from pipeline.bigbird.layout import AttentionGroup, Layout

_STEP = 32  # STEP in block_products.h
TASKS_OF_A_THREAD = 4  # a task is a head's block: tens of microseconds
HEADS_OF_A_THREAD = 16  # a task is a head's first row


class _Shape(ctypes.Structure):
    """The C file's `struct shape`."""

    _fields_ = [(name, ctypes.c_int64) for name in ("heads", "block", "head_size", "row")]


class _Group(ctypes.Structure):
    """The C file's `struct group`: pointers into the tensors of an `AttentionGroup`, which must outlive it."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("queries", "keys")],
        *[(name, ctypes.c_void_p) for name in ("window_G", "query_block_GQ", "key_block_GK", "bias_GS")],
    ]


def _group(group: AttentionGroup) -> _Group:
    tensors = (group.window_G, group.query_block_GQ, group.key_block_GK, group.bias_GS)
    assert all(tensor.is_contiguous() for tensor in tensors)
    assert group.bias_GS.dtype == torch.float32
    return _Group(group.query_block_GQ.shape[1], group.key_block_GK.shape[1], *(each.data_ptr() for each in tensors))


def avx512_every_row(qkv_TX: Tensor, layout: Layout, heads: int, *, tiles: bool) -> Tensor:
    """Attends from every row of qkv_TX [T, 3 * D], contiguous; gives context_TD. `tiles`: with AMX's.

    Raises:
        torch.OutOfMemoryError: there is none for what lies between the products.
    """
    library = operators_in_c()
    assert qkv_TX.is_contiguous()
    size = qkv_TX.shape[1] // 3
    shape = _Shape(heads, layout.block_size, size // heads, 3 * size)
    q, k, v = (qkv_TX.data_ptr() + part * size * qkv_TX.element_size() for part in range(3))
    blocks = layout.rows // layout.block_size
    keys_BHX = qkv_TX.new_empty(blocks, heads, _whole_steps(layout.block_size) * _whole_steps(size // heads))
    values_BHX = torch.empty_like(keys_BHX)
    context_TD = qkv_TX.new_empty(layout.rows, size)
    laid_out = keys_BHX.data_ptr(), values_BHX.data_ptr()
    spread(
        blocks * heads,
        TASKS_OF_A_THREAD,
        lambda low, high: library.rookery_lay_out(ctypes.byref(shape), k, v, *laid_out, low, high),
    )
    for each in layout.groups:
        group = _group(each)
        pointers = ctypes.byref(shape), ctypes.byref(group), q, *laid_out, context_TD.data_ptr()
        attend = partial(_check_memory, library.rookery_attend, *pointers, tiles)
        spread(each.query_block_GQ.numel() * heads, TASKS_OF_A_THREAD, attend)
    return context_TD


def avx512_first_rows(q_WD: Tensor, kv_TX: Tensor, layout: Layout, heads: int) -> Tensor:
    """Attends from the first row of each window to kv_TX [T, 2 * D], contiguous; gives context_WD.

    Raises:
        torch.OutOfMemoryError: there is none for the scores.
    """
    library = operators_in_c()
    assert q_WD.is_contiguous()
    assert kv_TX.is_contiguous()
    size = q_WD.shape[1]
    shape = _Shape(heads, layout.block_size, size // heads, 2 * size)
    k, v = (kv_TX.data_ptr() + part * size * kv_TX.element_size() for part in range(2))
    context_WD = torch.empty_like(q_WD)
    for each in layout.wide:
        group = _group(each)
        pointers = ctypes.byref(shape), ctypes.byref(group), q_WD.data_ptr(), k, v, context_WD.data_ptr()
        spread(
            len(each.window_G) * heads,
            HEADS_OF_A_THREAD,
            partial(_check_memory, library.rookery_attend_first, *pointers),
        )
    return context_WD


def _check_memory(function: "ctypes._NamedFuncPointer", *arguments: object) -> None:
    if function(*arguments):
        raise torch.OutOfMemoryError("can't allocate memory for the attention of one block")


def _whole_steps(count: int) -> int:
    return -(-count // _STEP) * _STEP


AVX512 = Attention(partial(avx512_every_row, tiles=False), avx512_first_rows)
AMX = Attention(partial(avx512_every_row, tiles=True), avx512_first_rows)
