"""Which device gets which implementation; nothing of it needs a GPU, or triton."""

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from pipeline.bigbird import avx512_library, operators
from pipeline.bigbird.attention import SDPA
from pipeline.bigbird.attention_avx512 import AMX, AVX512
from pipeline.bigbird.gelu_avx512 import MkldnnGeluLinear
from pipeline.bigbird.linear import MakeProduct, keep
from pipeline.bigbird.linear_cuda import CudaLinear
from pipeline.bigbird.linear_int8 import Int8Linear
from pipeline.bigbird.linear_int8_avx512 import Avx512Int8Linear
from pipeline.bigbird.linear_mkldnn import MkldnnLinear
from pipeline.bigbird.norm import TORCH_NORMS
from pipeline.bigbird.norm_avx512 import AVX512_NORMS
from pipeline.bigbird.operators import Operators, fastest_operators
from tests.bigbird.configs import encoder_config
from tests.bigbird.triton_process import needs_triton

BASE: dict[str, Any] = {"hidden_size": 768, "heads": 12}


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))


def operators_and_log(
    caplog: pytest.LogCaptureFixture,
    device: str = "cuda",
    *,
    dtype: torch.dtype = torch.float32,
    int8: bool = False,
    **changes: Any,
) -> tuple[Operators, list[str]]:
    with caplog.at_level(logging.INFO, "pipeline.bigbird"):
        chosen = fastest_operators(encoder_config(**BASE | changes), device, dtype, int8=int8)
    return chosen, caplog.messages


def test_the_defaults_run_everywhere() -> None:
    assert Operators() == Operators(SDPA, TORCH_NORMS, keep)


@pytest.mark.parametrize(("int8", "product"), [(False, MkldnnLinear), (True, Int8Linear)])
def test_a_cpu_gets_onednn(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    int8: bool,
    product: MakeProduct,
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    expected = Operators(SDPA, TORCH_NORMS, product)
    assert operators_and_log(caplog, "cpu", int8=int8) == (expected, [])


def test_a_cpu_without_onednn_gets_torch(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert operators_and_log(caplog, "cpu") == (
        Operators(),
        ["products with weights run without oneDNN, slower: this build of torch has none"],
    )


NEEDED, TILES = sorted(avx512_library.NEEDED_FLAGS), sorted(avx512_library.TILE_FLAGS)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine's another processor, with the library built and tiles allowed or not."""

    def become(flags: Sequence[str], *, tiles_allowed: bool = True) -> None:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
        monkeypatch.setattr(avx512_library, "cpu_flags", lambda: frozenset(flags))
        monkeypatch.setattr(avx512_library, "avx512_library", lambda: object())
        no_tiles = None if tiles_allowed else "Linux does not let this process use them"
        monkeypatch.setattr(operators, "why_no_tiles", lambda: no_tiles)

    return become


@pytest.mark.parametrize(("int8", "product"), [(False, MkldnnGeluLinear), (True, Avx512Int8Linear)])
@pytest.mark.parametrize("tiles", [True, False])
def test_bf16_on_a_cpu_gets_the_operators_in_c(
    caplog: pytest.LogCaptureFixture, processor: Callable[..., None], int8: bool, product: MakeProduct, tiles: bool
) -> None:
    processor(NEEDED + TILES, tiles_allowed=tiles)
    rows = 2048 if tiles and not int8 else 256
    expected = Operators(AMX if tiles else AVX512, AVX512_NORMS, product, rows)
    assert operators_and_log(caplog, "cpu", dtype=torch.bfloat16, int8=int8) == (expected, [operators.cpu_kernels()])


def test_a_processor_without_bf16_gets_torch_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture, processor: Callable[..., None]
) -> None:
    processor(["avx512f", "avx512bw", "avx512vl"])
    assert operators_and_log(caplog, "cpu", dtype=torch.bfloat16) == (
        Operators(product=MkldnnLinear),
        ["attention, norms and GELU by torch, slower: the processor has no avx512_bf16"],
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"heads": 256}, "head size is 3; expected an even one from 8 to 256"),
        ({"heads": 2}, "head size is 384; expected an even one from 8 to 256"),
        ({"block_size": 8}, "block_size is 8; expected one from 16 to 128"),
        ({"block_size": 256}, "block_size is 256; expected one from 16 to 128"),
    ],
)
def test_what_the_attention_in_c_cannot_take_runs_as_sdpa_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture, processor: Callable[..., None], changes: dict[str, Any], reason: str
) -> None:
    processor(NEEDED, tiles_allowed=False)
    chosen, log = operators_and_log(caplog, "cpu", dtype=torch.bfloat16, **changes)
    assert chosen == Operators(SDPA, AVX512_NORMS, MkldnnGeluLinear)
    assert log[1:] == [f"attention runs as sdpa instead of in C, slower: {reason}"]


@needs_triton
@pytest.mark.parametrize("block_size", [16, 32, 64, 128])
@pytest.mark.parametrize("heads", [6, 12, 24])
def test_a_gpu_gets_triton(caplog: pytest.LogCaptureFixture, block_size: int, heads: int) -> None:
    chosen, log = operators_and_log(caplog, block_size=block_size, heads=heads)
    from pipeline.bigbird.attention_triton import TRITON
    from pipeline.bigbird.norm_triton import TRITON_NORMS

    assert chosen == Operators(TRITON, TRITON_NORMS, CudaLinear)
    assert not log


@needs_triton
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"heads": 8}, "head size is 96; expected one of (32, 64, 128)"),
        ({"heads": 3}, "head size is 256; expected one of (32, 64, 128)"),
        ({"block_size": 8}, "block_size is 8; expected one of (16, 32, 64, 128)"),
        ({"block_size": 84}, "block_size is 84; expected one of (16, 32, 64, 128)"),
    ],
    ids=["head size 96", "head size 256", "blocks of 8", "blocks of 84"],
)
def test_what_the_kernel_cannot_take_runs_as_sdpa_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: str
) -> None:
    chosen, log = operators_and_log(caplog, **changes)
    assert chosen.attention is SDPA
    assert chosen.norms is not TORCH_NORMS
    assert chosen.product is CudaLinear
    assert log == [f"attention runs as sdpa instead of triton, slower: {reason}"]


def test_an_old_gpu_gets_torch(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    reason = "compute capability is (7, 5); expected at least (8, 0)"
    assert operators_and_log(caplog) == (
        Operators(product=CudaLinear),
        [f"attention and norms run without Triton kernels, slower: {reason}"],
    )


def test_a_gpu_without_triton_gets_torch(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert operators_and_log(caplog) == (
        Operators(product=CudaLinear),
        ["attention and norms run without Triton kernels, slower: triton is not installed"],
    )


def test_triton_is_not_imported_for_a_cpu() -> None:
    script = """
import sys
import torch
from pipeline.bigbird.operators import fastest_operators
from pipeline.inference import predictor
from tests.bigbird.configs import encoder_config
fastest_operators(encoder_config(), "cpu", torch.bfloat16)
sys.exit("triton" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
