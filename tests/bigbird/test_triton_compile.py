"""The kernels compiled for the GPUs that we expect: no GPU is needed.

Here are some of what operators.py accepts; `python -m jobs.measure.compiled_kernels` compiles all of it.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from jobs.measure.compiled_kernels import (
    GPU_ARCHITECTURES,
    KIB,
    CompiledKernel,
    compiled_add_norm,
    compiled_embed_norm,
    compiled_every_row,
    compiled_first_rows,
    every_launch,
)
from pipeline.bigbird.operators import BLOCK_SIZES, HEAD_SIZES
from tests.bigbird.triton_process import Run, needs_triton, process


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    cache = tmp_path_factory.mktemp("triton")
    with process(TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(cache)) as run:
        yield run


@needs_triton
@pytest.mark.parametrize("architecture", GPU_ARCHITECTURES)
@pytest.mark.parametrize(("block", "head_size"), [(64, 64), (128, 128)], ids=["BigBird's", "largest"])
def test_every_row(run: Run, architecture: int, block: int, head_size: int) -> None:
    kernel = run(compiled_every_row, architecture, "bf16", block, head_size)
    assert kernel.fits(), kernel
    assert kernel.has_tile_product


@needs_triton
@pytest.mark.parametrize(("block", "head_size"), [(16, 32), (128, 128)])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_every_row_of_other_shapes(run: Run, dtype: str, block: int, head_size: int) -> None:
    kernel = run(compiled_every_row, 86, dtype, block, head_size)
    assert kernel.fits(), kernel


@needs_triton
@pytest.mark.parametrize("architecture", GPU_ARCHITECTURES)
def test_first_rows(run: Run, architecture: int) -> None:
    kernel = run(compiled_first_rows, architecture, "bf16", 64)
    assert kernel.fits(), kernel


@needs_triton
@pytest.mark.parametrize("architecture", [80, 100])
@pytest.mark.parametrize("compiled", [compiled_add_norm, compiled_embed_norm])
def test_norms(run: Run, compiled: object, architecture: int) -> None:
    kernel = run(compiled, architecture, "bf16")
    assert kernel.fits(), kernel


def test_every_launch_that_operators_accept_is_listed() -> None:
    launches = list(every_launch())
    attention = {arguments for function, arguments in launches if function is compiled_every_row}
    assert attention == {
        (dtype, block, size) for dtype in ("bf16", "fp32") for block in BLOCK_SIZES for size in HEAD_SIZES
    }
    assert len(launches) == len(attention) + 2 * (len(HEAD_SIZES) + 2)


def test_programs_are_counted_by_what_runs_out_first() -> None:
    """The figures of CUDA's occupancy calculator."""
    kernel = CompiledKernel("", 80, 4, 128, 0, 24 * KIB, 0, has_tile_product=True)
    assert kernel.programs == 4  # registers: 128 * 128 of 65,536
    assert replace(kernel, registers=40, shared_bytes=40 * KIB).programs == 4  # 164 KiB of shared memory
    assert replace(kernel, registers=32, shared_bytes=0).programs == 16  # 2,048 threads
    assert replace(kernel, architecture=100, tensor_columns=256).programs == 2
    assert kernel.fits()
    assert not replace(kernel, stack_bytes=8).fits()
    assert not replace(kernel, shared_bytes=164 * KIB).fits()
    assert not replace(kernel, registers=256).fits()
