"""Which device gets which implementation; nothing of it needs a GPU, or triton."""

import importlib.util
import logging
import subprocess
import sys
from typing import Any

import pytest
import torch

from pipeline.bigbird.attention import SDPA
from pipeline.bigbird.linear import MakeProduct, keep
from pipeline.bigbird.linear_cuda import CudaLinear
from pipeline.bigbird.linear_int8 import Int8Linear
from pipeline.bigbird.linear_mkldnn import MkldnnLinear
from pipeline.bigbird.norm import TORCH_NORMS
from pipeline.bigbird.operators import Operators, fastest_operators
from tests.bigbird.configs import encoder_config
from tests.bigbird.triton_process import needs_triton

BASE: dict[str, Any] = {"hidden_size": 768, "heads": 12}


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))


def operators_and_log(
    caplog: pytest.LogCaptureFixture, device: str = "cuda", *, int8: bool = False, **changes: Any
) -> tuple[Operators, list[str]]:
    with caplog.at_level(logging.INFO, "pipeline.bigbird"):
        operators = fastest_operators(encoder_config(**BASE | changes), device, int8=int8)
    return operators, caplog.messages


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


@needs_triton
@pytest.mark.parametrize("block_size", [16, 32, 64, 128])
@pytest.mark.parametrize("heads", [6, 12, 24])
def test_a_gpu_gets_triton(caplog: pytest.LogCaptureFixture, block_size: int, heads: int) -> None:
    operators, log = operators_and_log(caplog, block_size=block_size, heads=heads)
    from pipeline.bigbird.attention_triton import TRITON
    from pipeline.bigbird.norm_triton import TRITON_NORMS

    assert operators == Operators(TRITON, TRITON_NORMS, CudaLinear)
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
    operators, log = operators_and_log(caplog, **changes)
    assert operators.attention is SDPA
    assert operators.norms is not TORCH_NORMS
    assert operators.product is CudaLinear
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
from pipeline.bigbird.operators import fastest_operators
from pipeline.inference import predictor
from tests.bigbird.configs import encoder_config
fastest_operators(encoder_config(), "cpu")
sys.exit("triton" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
