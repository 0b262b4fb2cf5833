"""Tanh GELU in C against its definition, in float64."""

import math

import pytest
import torch

from pipeline.bigbird import gelu_avx512
from pipeline.bigbird.avx512_library import opened
from pipeline.bigbird.gelu_avx512 import MkldnnGeluLinear, avx512_gelu_tanh
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.linear_mkldnn import MkldnnLinear
from tests.bigbird.avx512_builds import built, needs_avx512, needs_compiler

pytestmark = [needs_avx512, needs_compiler]


@pytest.fixture(scope="module", autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory):
    library = opened(built(tmp_path_factory.mktemp("library")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gelu_avx512, "operators_in_c", lambda: library)
        yield


def every_bfloat16() -> torch.Tensor:
    """All of them that are finite and no larger than 1e30."""
    values = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    return values[values.float().abs() <= 1e30]


def test_every_number() -> None:
    x = every_bfloat16()
    exact = x.double()
    expected = 0.5 * exact * (1 + torch.tanh(math.sqrt(2 / math.pi) * (exact + 0.044715 * exact**3)))
    # 1 + tanh loses digits far below 0, where the result is next to nothing; above, half of bfloat16's spacing
    torch.testing.assert_close(avx512_gelu_tanh(x.clone()).double(), expected, rtol=2**-8 * 1.01, atol=1e-7)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_length_on_any_number_of_threads(threads: int) -> None:
    x = torch.randn(1_500_007).bfloat16()
    torch.set_num_threads(threads)
    try:
        y = avx512_gelu_tanh(x.clone())
    finally:
        torch.set_num_threads(1)
    expected = torch.nn.functional.gelu(x.float(), approximate="tanh").bfloat16()
    assert float((y.float() - expected.float()).abs().max()) <= 2**-8  # one step of bfloat16's, of values up to 5


def test_nan_stays_nan() -> None:
    assert bool(avx512_gelu_tanh(torch.tensor([math.nan], dtype=torch.bfloat16)).isnan())


@torch.inference_mode()
def test_the_other_activations_are_onednn_s() -> None:
    torch.manual_seed(0)
    linear, x_RI = Linear(48, 80, dtype=torch.bfloat16), torch.randn(300, 48).bfloat16()
    ours, theirs = MkldnnGeluLinear(linear, [None]), MkldnnLinear(linear, [None])
    for activation in ("gelu_erf", "relu"):
        assert torch.equal(ours.activated(x_RI, activation), theirs.activated(x_RI, activation))
    difference = ours.activated(x_RI, "gelu_tanh").float() - theirs.activated(x_RI, "gelu_tanh").float()
    assert float(difference.abs().max()) <= 2**-6  # one step of values from 2 on: oneDNN's is not rounded before
