"""Rounding to 8 bits and scaling back in C, against their definition; the product against that of torch's operators."""

import math

import numpy as np
import pytest
import torch

from pipeline.bigbird import linear_int8_avx512
from pipeline.bigbird.avx512_library import opened
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.linear_int8 import Int8Linear
from pipeline.bigbird.linear_int8_avx512 import Avx512Int8Linear, avx512_round_rows, avx512_scale_rows
from pipeline.inference.dtype import INT8_FLAGS, cpu_has
from tests.bigbird.avx512_builds import built, needs_avx512, needs_compiler

pytestmark = [needs_avx512, needs_compiler]
needs_int8 = pytest.mark.skipif(not cpu_has(INT8_FLAGS), reason=f"this processor has none of {sorted(INT8_FLAGS)}")


@pytest.fixture(scope="module", autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory):
    library = opened(built(tmp_path_factory.mktemp("library")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_int8_avx512, "operators_in_c", lambda: library)
        yield


@pytest.mark.parametrize("size", [1, 17, 31, 32, 100])
def test_rounded_to_the_nearest_step_of_its_row(size: int) -> None:
    x_RI = (torch.randn(300, size) * torch.logspace(-30, 30, 300)[:, None]).bfloat16()
    x_RI[7] = 0
    rounded_RI, scale_R = avx512_round_rows(x_RI)
    exact_RI, scale_R1 = x_RI.double().numpy(), scale_R.double().numpy()[:, None]
    np.testing.assert_allclose(scale_R1, np.abs(exact_RI).max(1, keepdims=True) / 127, rtol=1e-6)
    error_RI = np.abs((rounded_RI.double().numpy() - 128) * scale_R1 - exact_RI)
    assert (error_RI <= scale_R1 * 0.50001).all()
    assert bool((rounded_RI[7] == 128).all())


@pytest.mark.parametrize("threads", [1, 3])
def test_a_row_does_not_depend_on_its_neighbours(threads: int) -> None:
    x_RI = torch.randn(3_000, 700).bfloat16()
    torch.set_num_threads(threads)
    try:
        rounded_RI, scale_R = avx512_round_rows(x_RI)
    finally:
        torch.set_num_threads(1)
    alone_1I, scale_1 = avx512_round_rows(x_RI[2_345:2_346])
    assert torch.equal(rounded_RI[2_345:2_346], alone_1I)
    assert torch.equal(scale_R[2_345:2_346], scale_1)


@pytest.mark.parametrize("gelu", [False, True])
def test_scaled_rows(gelu: bool) -> None:
    y_RO, scale_R, bias_O = torch.randn(300, 50).bfloat16(), torch.rand(300) + 0.1, torch.randn(50)
    expected_RO = y_RO.double() * scale_R.double()[:, None] + bias_O.double()
    if gelu:
        expected_RO = torch.nn.functional.gelu(expected_RO, approximate="tanh")
    scaled_RO = avx512_scale_rows(y_RO, scale_R, bias_O, gelu=gelu)
    assert scaled_RO is y_RO
    torch.testing.assert_close(scaled_RO.double(), expected_RO, rtol=2**-8, atol=1e-5)


@needs_int8
@torch.inference_mode()
@pytest.mark.parametrize("activation", ["gelu_tanh", "gelu_erf", "relu"])
def test_no_farther_from_fp32_than_with_torch_s_operators(activation) -> None:
    torch.manual_seed(0)
    linear, x_RI = Linear(96, 80), torch.randn(300, 96).bfloat16()
    ours, theirs = Avx512Int8Linear(linear, [None, (0, 32)]), Int8Linear(linear, [None, (0, 32)])
    for call in (lambda it: it.activated(x_RI, activation), lambda it: it(x_RI), lambda it: it(x_RI, (0, 32))):
        expected = call(_Exact(linear))
        errors = [float((call(it).double() - expected).norm() / expected.norm()) for it in (ours, theirs)]
        assert errors[0] <= errors[1] * 1.02
        assert errors[0] < 0.02


class _Exact:
    """In float64."""

    def __init__(self, linear: Linear) -> None:
        self.linear = linear

    def __call__(self, x_RI, outputs=None):
        weight_OI, bias_O = self.linear.part(outputs)
        return torch.nn.functional.linear(
            x_RI.double(), weight_OI.double(), None if bias_O is None else bias_O.double()
        )

    def activated(self, x_RI, activation):
        y_RO = self(x_RI)
        if activation == "relu":
            return torch.relu(y_RO)
        return torch.nn.functional.gelu(y_RO, approximate="tanh" if activation == "gelu_tanh" else "none")


@needs_int8
@torch.inference_mode()
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_stays_so_and_alone(bad: float) -> None:
    product, x_RI = Avx512Int8Linear(Linear(64, 48), [None]), torch.randn(5, 64).bfloat16()
    clean_RO = product(x_RI)
    x_RI[2, 9] = bad
    y_RO = product(x_RI)
    assert not bool(y_RO[2].isfinite().any())
    assert torch.equal(y_RO[[0, 1, 3, 4]], clean_RO[[0, 1, 3, 4]])
