"""Residual and norm in C against torch's in float64."""

import pytest
import torch
from torch import nn

from pipeline.bigbird import norm_avx512
from pipeline.bigbird.avx512_library import opened
from pipeline.bigbird.norm_avx512 import avx512_add_norm
from tests.bigbird.avx512_builds import built, needs_avx512, needs_compiler

pytestmark = [needs_avx512, needs_compiler]


@pytest.fixture(scope="module", autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory):
    library = opened(built(tmp_path_factory.mktemp("library")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm_avx512, "operators_in_c", lambda: library)
        yield


def random_norm(size: int) -> nn.LayerNorm:
    norm = nn.LayerNorm(size, 1e-5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.bfloat16()


@pytest.mark.parametrize("size", [1, 15, 16, 30, 100, 768, 5000])
@pytest.mark.parametrize("threads", [1, 3])
@torch.inference_mode()
def test_as_torch(size: int, threads: int) -> None:
    norm, rows = random_norm(size), 2000 if size < 200 else 7
    hidden_RD, update_RD = torch.randn(2, rows, size).bfloat16()
    expected_RD = nn.functional.layer_norm(
        hidden_RD.double() + update_RD.double(), (size,), norm.weight.double(), norm.bias.double(), norm.eps
    )
    torch.set_num_threads(threads)
    try:
        normed_RD = avx512_add_norm(hidden_RD, update_RD, norm)
    finally:
        torch.set_num_threads(1)
    # rounded to nearest: half of bfloat16's spacing, and what float32 loses before
    torch.testing.assert_close(normed_RD.double(), expected_RD, rtol=2**-8 * 1.01, atol=1e-5)


@torch.inference_mode()
def test_a_row_far_from_zero_keeps_its_variance() -> None:
    """Squares of values about their mean, not of the values: 256 ± 1 has a variance of 1."""
    hidden_RD = torch.tensor([[255.0, 257.0] * 384]).bfloat16()
    normed_RD = avx512_add_norm(hidden_RD, torch.zeros_like(hidden_RD), nn.LayerNorm(768).bfloat16())
    assert normed_RD.abs().unique().tolist() == [1.0]


@torch.inference_mode()
def test_a_row_that_is_not_finite_leaves_its_neighbours_alone() -> None:
    norm, (hidden_RD, update_RD) = random_norm(48), torch.randn(2, 3, 48).bfloat16()
    expected_RD = avx512_add_norm(hidden_RD, update_RD, norm)
    hidden_RD[1, 5] = torch.inf
    normed_RD = avx512_add_norm(hidden_RD, update_RD, norm)
    assert bool(normed_RD[1].isnan().all())
    assert torch.equal(normed_RD[::2], expected_RD[::2])
