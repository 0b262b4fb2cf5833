"""Residual and norm, and embeddings and norm, each as one Triton kernel: CUDA, no gradients.

Both are bound by memory, so each reads its inputs once and writes once. One program for each row;
sums and statistics are float32 whatever the tensors are.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from pipeline.bigbird.norm import Norms, Tables


@triton.jit  # type: ignore[untyped-decorator]
def _store_normed(  # type: ignore[no-untyped-def]
    x_D, normed_ptr, weight_ptr, bias_ptr, eps, offset_D, real_D, D: tl.constexpr
):
    mean = tl.sum(x_D, 0) / D
    centred_D = tl.where(real_D, x_D - mean, 0.0)
    variance = tl.sum(centred_D * centred_D, 0) / D
    weight_D = tl.load(weight_ptr + offset_D, mask=real_D, other=0.0).to(tl.float32)
    bias_D = tl.load(bias_ptr + offset_D, mask=real_D, other=0.0).to(tl.float32)
    normed_D = centred_D * tl.rsqrt(variance + eps) * weight_D + bias_D
    normed_ptr += tl.program_id(0).to(tl.int64) * D
    tl.store(normed_ptr + offset_D, normed_D.to(normed_ptr.dtype.element_ty), mask=real_D)


@triton.jit  # type: ignore[untyped-decorator]
def add_norm_kernel(  # type: ignore[no-untyped-def]
    hidden_ptr,
    update_ptr,
    normed_ptr,
    weight_ptr,
    bias_ptr,
    eps,
    D: tl.constexpr,
    LANES: tl.constexpr,
):
    """One program for each row."""
    offset_D = tl.arange(0, LANES)
    real_D = offset_D < D
    row = tl.program_id(0).to(tl.int64) * D
    hidden_D = tl.load(hidden_ptr + row + offset_D, mask=real_D, other=0.0).to(tl.float32)
    update_D = tl.load(update_ptr + row + offset_D, mask=real_D, other=0.0).to(tl.float32)
    _store_normed(hidden_D + update_D, normed_ptr, weight_ptr, bias_ptr, eps, offset_D, real_D, D)


def add_norm(hidden_RD: Tensor, update_RD: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Computes normed_RD in one kernel; contiguous tensors on a GPU."""
    _check(norm, hidden_RD, update_RD)
    rows, size = hidden_RD.shape
    normed_RD = torch.empty_like(hidden_RD)
    add_norm_kernel[(rows,)](hidden_RD, update_RD, normed_RD, norm.weight, norm.bias, norm.eps, size, **launch(size))
    return normed_RD


@triton.jit  # type: ignore[untyped-decorator]
def embed_norm_kernel(  # type: ignore[no-untyped-def]
    token_id_ptr,
    position_ptr,
    word_ptr,
    position_table_ptr,
    token_type_ptr,
    normed_ptr,
    weight_ptr,
    bias_ptr,
    scale,
    eps,
    D: tl.constexpr,
    LANES: tl.constexpr,
):
    """One program for each row."""
    offset_D = tl.arange(0, LANES)
    real_D = offset_D < D
    word_ptr += tl.load(token_id_ptr + tl.program_id(0)).to(tl.int64) * D
    position_table_ptr += tl.load(position_ptr + tl.program_id(0)).to(tl.int64) * D
    word_D = tl.load(word_ptr + offset_D, mask=real_D, other=0.0).to(tl.float32)
    position_D = tl.load(position_table_ptr + offset_D, mask=real_D, other=0.0).to(tl.float32)
    type_D = tl.load(token_type_ptr + offset_D, mask=real_D, other=0.0).to(tl.float32)
    x_D = word_D * scale + type_D + position_D
    _store_normed(x_D, normed_ptr, weight_ptr, bias_ptr, eps, offset_D, real_D, D)


def embed_norm(
    token_id_T: Tensor, position_T: Tensor, tables: Tables, dropout: nn.Dropout, norm: nn.LayerNorm
) -> Tensor:
    """Computes normed_TD in one kernel; contiguous tensors on a GPU, and no dropout."""
    _check(norm, token_id_T, position_T, tables.word_VD, tables.position_PD, tables.token_type_D)
    assert not (dropout.training and dropout.p), "no dropout: train with TORCH_NORMS"
    rows, size = len(token_id_T), tables.word_VD.shape[1]
    normed_TD = tables.word_VD.new_empty(rows, size)
    embed_norm_kernel[(rows,)](
        token_id_T,
        position_T,
        tables.word_VD,
        tables.position_PD,
        tables.token_type_D,
        normed_TD,
        norm.weight,
        norm.bias,
        1.0 if tables.scale is None else tables.scale,
        norm.eps,
        size,
        **launch(size),
    )
    return normed_TD


def launch(size: int) -> dict[str, int]:
    """Lanes and warps for rows of `size`: 8 values, that is 16 bytes of bfloat16, in each thread."""
    lanes = max(32, 1 << (size - 1).bit_length())
    return {"LANES": lanes, "num_warps": min(max(1, lanes // 256), 16)}


def _check(norm: nn.LayerNorm, *tensors: Tensor) -> None:
    for tensor in (norm.weight, *tensors):
        assert tensor.is_contiguous()
        assert not (tensor.requires_grad and torch.is_grad_enabled()), "no gradients: train on torch"


TRITON_NORMS = Norms(add_norm, embed_norm)
