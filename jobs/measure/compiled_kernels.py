"""The Triton kernels, as they are launched, compiled for the GPUs that we expect: no GPU is needed.

`python -m jobs.measure.compiled_kernels` compiles all that operators.py accepts: every block size, head size and dtype,
for every architecture. Nothing may spill registers to memory, and a program must fit a multiprocessor.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from jobs.measure.page import Page, made_by, markdown_table
from pipeline.bigbird.operators import BLOCK_SIZES, HEAD_SIZES
from pipeline.cores import available_cores

KIB = 1024
WARP = 32  # threads
REGISTERS, THREAD_REGISTERS = 65_536, 255  # of a multiprocessor, and of a thread, on all of them
TENSOR_COLUMNS = 512  # of a multiprocessor's tensor memory, from sm_100 on
ELEMENT_SIZES = {"bf16": 2, "fp32": 4}
UNFIT = "does not fit:"
HEADS, HIDDEN = 12, 768  # of BigBird-base


@dataclass(frozen=True, slots=True)
class Architecture:
    """What NVIDIA says of a compute capability: KiB of shared memory of a program and of a multiprocessor, threads."""

    program_kib: int
    kib: int
    threads: int
    tile_product: str  # the instruction that multiplies tiles of bfloat16


GPU_ARCHITECTURES = {
    80: Architecture(163, 164, 2048, "mma.sync"),  # A100
    86: Architecture(99, 100, 1536, "mma.sync"),  # A10
    89: Architecture(99, 100, 1536, "mma.sync"),  # L4, L40S
    90: Architecture(227, 228, 2048, "wgmma"),  # H100, H200
    100: Architecture(227, 228, 2048, "tcgen05"),  # B200
}


@dataclass(frozen=True, slots=True)
class CompiledKernel:
    """A kernel for one architecture, and what a program of it takes."""

    name: str
    architecture: int
    warps: int
    registers: int  # of a thread
    stack_bytes: int  # of a thread: what did not fit the registers
    shared_bytes: int
    tensor_columns: int
    has_tile_product: bool

    @property
    def programs(self) -> int:
        """How many a multiprocessor runs at once."""
        limits = GPU_ARCHITECTURES[self.architecture]
        registers = -(-self.registers // 8) * 8  # they are given out in eights
        return min(
            limits.threads // (self.warps * WARP),
            REGISTERS // (registers * self.warps * WARP),
            limits.kib * KIB // (self.shared_bytes + KIB),  # the system takes one KiB of each
            TENSOR_COLUMNS // max(1, self.tensor_columns),
        )

    def fits(self) -> bool:
        """Tells whether nothing was spilled, and a program can be launched."""
        within = self.shared_bytes <= GPU_ARCHITECTURES[self.architecture].program_kib * KIB
        return not self.stack_bytes and within and self.registers <= THREAD_REGISTERS and self.programs >= 1


def compile_kernel(
    name: str, kernel: Any, types: str, constants: Mapping[str, int], options: Mapping[str, int], architecture: int
) -> CompiledKernel:
    """Compiles to machine code; `types` are those of the arguments before the constants. Pointers are aligned.

    Triton must not interpret: TRITON_INTERPRET is "0", or not set, when it is first imported.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = types.split() + ["constexpr"] * len(constants)
    source = ASTSource(
        fn=kernel,
        signature=dict(zip(kernel.arg_names, names, strict=True)),
        constexprs=dict(constants),
        attrs={(n,): [["tt.divisibility", 16]] for n, t in enumerate(names) if t[0] == "*"},
    )
    result = triton.compile(source, target=GPUTarget("cuda", architecture, WARP), options=dict(options))
    used = _resources(result.asm["cubin"], Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump")
    return CompiledKernel(
        name=name,
        architecture=architecture,
        warps=result.metadata.num_warps,
        registers=used["REG"],
        stack_bytes=used["STACK"] + used["LOCAL"],
        shared_bytes=result.metadata.shared,
        tensor_columns=getattr(result.metadata, "tmem_size", 0) or 0,
        has_tile_product=GPU_ARCHITECTURES[architecture].tile_product in result.asm["ptx"],
    )


def _resources(cubin: bytes, cuobjdump: Path) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(cuobjdump), "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}


def compiled_every_row(architecture: int, dtype: str, block: int, head_size: int) -> CompiledKernel:
    """The attention of every row, as `attention_triton.every_row` launches it."""
    from pipeline.bigbird import attention_triton as kernels

    element_size = ELEMENT_SIZES[dtype]
    tile = kernels.tile_size(block, element_size)
    return compile_kernel(
        f"every row, {dtype}, blocks of {block}, heads of {head_size}",
        kernels.every_row_kernel,
        f"*{dtype} *{dtype} *i32 i32 fp32 fp32",
        {"H": HEADS, "E": head_size, "BLOCK": block, "TILE": tile},
        {"num_warps": kernels.warps(tile, element_size), "num_stages": kernels.PIPELINE_STAGES},
        architecture,
    )


def compiled_first_rows(architecture: int, dtype: str, head_size: int) -> CompiledKernel:
    """The attention of each window's first row, as `attention_triton.first_rows` launches it."""
    from pipeline.bigbird import attention_triton as kernels

    return compile_kernel(
        f"first rows, {dtype}, heads of {head_size}",
        kernels.first_rows_kernel,
        f"*{dtype} *{dtype} *{dtype} *i64 *i64 fp32",
        {"H": HEADS, "E": head_size, "KEYS": kernels.FIRST_ROWS_ELEMENTS // head_size},
        {},
        architecture,
    )


def compiled_add_norm(architecture: int, dtype: str) -> CompiledKernel:
    """Residual and norm, as `norm_triton.add_norm` launches it."""
    from pipeline.bigbird.norm_triton import add_norm_kernel

    return _compiled_norm("add and norm", add_norm_kernel, f"{5 * f'*{dtype} '}fp32", architecture, dtype)


def compiled_embed_norm(architecture: int, dtype: str) -> CompiledKernel:
    """Embeddings and norm, as `norm_triton.embed_norm` launches it."""
    from pipeline.bigbird.norm_triton import embed_norm_kernel

    types = f"*i64 *i64 {6 * f'*{dtype} '}fp32 fp32"
    return _compiled_norm("embeddings and norm", embed_norm_kernel, types, architecture, dtype)


def _compiled_norm(name: str, kernel: Any, types: str, architecture: int, dtype: str) -> CompiledKernel:
    from pipeline.bigbird import norm_triton

    options = norm_triton.launch(HIDDEN)
    constants = {"D": HIDDEN, "LANES": options.pop("LANES")}
    return compile_kernel(f"{name}, {dtype}, rows of {HIDDEN}", kernel, types, constants, options, architecture)


def every_launch() -> Iterator[tuple[Callable[..., CompiledKernel], tuple[Any, ...]]]:
    """Lists what may be launched: a function of this module, and its arguments behind the architecture."""
    for dtype in ELEMENT_SIZES:
        for block, head_size in product(BLOCK_SIZES, HEAD_SIZES):
            yield compiled_every_row, (dtype, block, head_size)
        for head_size in HEAD_SIZES:
            yield compiled_first_rows, (dtype, head_size)
        yield compiled_add_norm, (dtype,)
        yield compiled_embed_norm, (dtype,)


def compile_all() -> Iterator[list[CompiledKernel]]:
    """Compiles every launch for every architecture, in processes that don't interpret, and keeps nothing."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": cache}
        with ProcessPoolExecutor(available_cores(), get_context("spawn")) as pool:
            launches = [
                [pool.submit(function, architecture, *arguments) for architecture in GPU_ARCHITECTURES]
                for function, arguments in every_launch()
            ]
            for of_one in launches:
                yield [future.result() for future in of_one]


def main() -> bool:
    """Compiles; prints and writes the table; tells whether all fit."""
    parser = argparse.ArgumentParser(prog="python -m jobs.measure.compiled_kernels", description=__doc__)
    parser.add_argument("--markdown", type=Path, help="write the table into this page too")
    page = Page(parser.parse_args().markdown)
    rows = []
    for kernels in compile_all():
        rows.append((kernels[0].name, *map(_cell, kernels)))
        print(rows[-1], file=sys.stderr, flush=True)
    head = ("registers / KiB shared / programs", *(f"sm_{architecture}" for architecture in GPU_ARCHITECTURES))
    table = markdown_table([head, *rows])
    print(table)
    page.write(made_by(), [table])
    return not any(UNFIT in cell for row in rows for cell in row)


def _cell(kernel: CompiledKernel) -> str:
    cell = f"{kernel.registers} / {kernel.shared_bytes / KIB:.0f} / {kernel.programs}"
    return cell if kernel.fits() else f"{UNFIT} {cell}, {kernel.stack_bytes} bytes spilled"


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
