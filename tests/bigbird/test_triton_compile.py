"""The kernels, as they are launched, compiled for the GPUs that we expect: no GPU is needed.

Nothing may spill registers to memory, and all must fit the shared memory of one program.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bigbird.triton_process import Run, needs_triton, process

pytestmark = needs_triton

SHARED_BYTES = {80: 163 * 1024, 86: 99 * 1024, 89: 99 * 1024, 90: 227 * 1024}  # NVIDIA's limits


@dataclass(frozen=True, slots=True)
class Compiled:
    spilled_bytes: int
    registers: int
    shared_bytes: int
    tensor_cores: bool


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    cache = tmp_path_factory.mktemp("triton")
    with process(TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(cache)) as run:
        yield run


def compiled(
    kernel: Any, types: str, constants: dict[str, int], options: dict[str, int], architecture: int
) -> Compiled:
    """`types` are those of the arguments before the constants; what is a pointer is aligned."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = types.split() + ["constexpr"] * len(constants)
    source = ASTSource(
        fn=kernel,
        signature=dict(zip(kernel.arg_names, names, strict=True)),
        constexprs=constants,
        attrs={(n,): [["tt.divisibility", 16]] for n, t in enumerate(names) if t[0] == "*"},
    )
    result = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    ptx = result.asm["ptx"]
    log = _assemble(ptx, architecture, Path(triton.__file__).parent / "backends/nvidia/bin/ptxas")
    return Compiled(
        spilled_bytes=sum(int(n) for n in re.findall(r"(\d+) bytes spill", log)),
        registers=int(re.findall(r"Used (\d+) registers", log)[0]),
        shared_bytes=result.metadata.shared,
        tensor_cores=("wgmma" if architecture == 90 else "mma.sync") in ptx,
    )


def _assemble(ptx: str, architecture: int, ptxas: Path) -> str:
    target = f"sm_{architecture}" + ("a" if architecture == 90 else "")
    command = [str(ptxas), "-v", f"-arch={target}", "-", "-o", "/dev/null"]
    return subprocess.run(command, input=ptx, capture_output=True, text=True, check=True).stderr


def compiled_every_row(architecture: int, dtype: str, block: int, head_size: int) -> Compiled:
    from pipeline.bigbird import attention_triton as triton_attention

    element_size = {"bf16": 2, "fp32": 4}[dtype]
    tile = triton_attention.tile_size(block, element_size)
    return compiled(
        triton_attention.every_row_kernel,
        f"*{dtype} *{dtype} *i32 i32 fp32 fp32",
        {"H": 12, "E": head_size, "BLOCK": block, "TILE": tile},
        {
            "num_warps": triton_attention.warps(tile, element_size),
            "num_stages": triton_attention.PIPELINE_STAGES,
        },
        architecture,
    )


def compiled_first_rows(architecture: int, dtype: str, head_size: int) -> Compiled:
    from pipeline.bigbird import attention_triton as triton_attention

    return compiled(
        triton_attention.first_rows_kernel,
        f"*{dtype} *{dtype} *{dtype} *i64 *i64 fp32",
        {"H": 12, "E": head_size, "KEYS": triton_attention.FIRST_ROWS_ELEMENTS // head_size},
        {},
        architecture,
    )


def compiled_norms(architecture: int, dtype: str) -> tuple[Compiled, Compiled]:
    from pipeline.bigbird import norm_triton

    options = norm_triton.launch(768)
    constants = {"D": 768, "LANES": options.pop("LANES")}
    add_types = " ".join([f"*{dtype}"] * 5)
    table_types = " ".join([f"*{dtype}"] * 6)
    return (
        compiled(norm_triton.add_norm_kernel, f"{add_types} fp32", constants, options, architecture),
        compiled(
            norm_triton.embed_norm_kernel,
            f"*i64 *i64 {table_types} fp32 fp32",
            constants,
            options,
            architecture,
        ),
    )


def assert_fits(result: Compiled, architecture: int) -> None:
    assert result.spilled_bytes == 0, result
    assert result.shared_bytes <= SHARED_BYTES[architecture], result


@pytest.mark.parametrize("architecture", SHARED_BYTES)
@pytest.mark.parametrize(("block", "head_size"), [(64, 64), (128, 128)], ids=["BigBird's", "largest"])
def test_every_row(run: Run, architecture: int, block: int, head_size: int) -> None:
    result = run(compiled_every_row, architecture, "bf16", block, head_size)
    assert_fits(result, architecture)
    assert result.tensor_cores


@pytest.mark.parametrize(("block", "head_size"), [(16, 32), (128, 128)])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_every_row_of_other_shapes(run: Run, dtype: str, block: int, head_size: int) -> None:
    assert_fits(run(compiled_every_row, 86, dtype, block, head_size), 86)


@pytest.mark.parametrize("architecture", SHARED_BYTES)
def test_first_rows(run: Run, architecture: int) -> None:
    assert_fits(run(compiled_first_rows, architecture, "bf16", 64), architecture)


@pytest.mark.parametrize("architecture", SHARED_BYTES)
def test_norms(run: Run, architecture: int) -> None:
    for result in run(compiled_norms, architecture, "bf16"):
        assert_fits(result, architecture)
