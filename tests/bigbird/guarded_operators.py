"""Calls every operator in C on memory that ends where the process may read no further; its argument is the library.

In a process of its own: what reads or writes too far ends it, and so does what a sanitizer finds. Masked loads and
stores are invisible to sanitizers, so each tensor lies against a page that is forbidden.
"""

import ctypes
import mmap
import sys
from pathlib import Path

import torch
from torch import Tensor

from pipeline.bigbird import attention_avx512, gelu_avx512, linear_int8_avx512, norm_avx512
from pipeline.bigbird.attention_avx512 import AMX, AVX512
from pipeline.bigbird.avx512_library import opened
from pipeline.bigbird.layout import Layout
from tests.bigbird.configs import encoder_config

PROT_NONE = 0
SHAPES = [  # block size, heads, head size, lengths
    (16, 3, 10, [1, 33, 208]),
    (33, 1, 34, [400, 66]),
    (64, 2, 64, [710, 64]),
]
_libc = ctypes.CDLL(None)
_kept: list[mmap.mmap] = []


def guarded(x: Tensor) -> Tensor:
    """Copies x to the end of pages that a forbidden one follows."""
    bytes_ = x.numel() * x.element_size()
    pages = -(-bytes_ // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    _kept.append(memory)
    end = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + pages * mmap.PAGESIZE
    assert not _libc.mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, PROT_NONE)
    offset = pages * mmap.PAGESIZE - bytes_
    return torch.frombuffer(memory, dtype=x.dtype, count=x.numel(), offset=offset).view(x.shape).copy_(x)


def main() -> None:
    library = opened(Path(sys.argv[1]))
    for module in (attention_avx512, norm_avx512, gelu_avx512, linear_int8_avx512):
        vars(module)["operators_in_c"] = lambda: library
    torch.set_num_threads(1)
    for block_size, heads, head_size, lengths in SHAPES:
        size = heads * head_size
        layout = Layout.of(lengths, encoder_config(block_size=block_size, random_blocks=1))
        qkv_TX = guarded(torch.randn(layout.rows, 3 * size).bfloat16())
        kv_TX = guarded(qkv_TX[:, size:])
        q_WD = guarded(qkv_TX[layout.first_row_W, :size])
        for attention in (AVX512, AMX):
            assert attention.every_row(qkv_TX, layout, heads).isfinite().all()
        assert AVX512.first_rows(q_WD, kv_TX, layout, heads).isfinite().all()
        norm = torch.nn.LayerNorm(size).bfloat16()
        norm.weight.data, norm.bias.data = guarded(norm.weight.data), guarded(norm.bias.data)
        assert norm_avx512.avx512_add_norm(q_WD, q_WD, norm).isfinite().all()
        assert gelu_avx512.avx512_gelu_tanh(kv_TX).isfinite().all()
        _, scale_R = linear_int8_avx512.avx512_round_rows(kv_TX)
        bias_O = guarded(torch.randn(2 * size))
        assert linear_int8_avx512.avx512_scale_rows(kv_TX, guarded(scale_R), bias_O, gelu=True).isfinite().all()
    sys.stdout.write("all within bounds\n")


if __name__ == "__main__":
    main()
