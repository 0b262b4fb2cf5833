"""The Triton norms against torch's, interpreted where there is no GPU."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pipeline.bigbird.norm import TORCH_NORMS, Tables
from tests.bigbird.triton_process import PLACES, Run, needs_triton, place_to_run

pytestmark = needs_triton

ROWS = 9
# Of 1 + the value. Worst measured, interpreted: 8.1e-7, and 6.2e-3 because the interpreter cuts
# float32 to bfloat16 (up to 2 ** -7) where a GPU rounds it (up to 2 ** -8).
TOLERANCE = {torch.float32: 4e-6, torch.bfloat16: 2**-7}


@pytest.fixture(scope="module", params=PLACES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with place_to_run(request.param, tmp_path_factory.mktemp("triton")) as run:
        yield run


def random_norm(size: int, dtype: torch.dtype) -> nn.LayerNorm:
    norm = nn.LayerNorm(size, 1e-12)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.to(dtype)


def difference(normed: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    assert normed.dtype == dtype
    return float(((normed.cpu().float() - expected).abs() / (1 + expected.abs())).max())


@torch.inference_mode()
def add_norm_error(device: str, size: int, dtype: torch.dtype) -> float:
    from pipeline.bigbird.norm_triton import TRITON_NORMS

    torch.manual_seed(0)
    norm = random_norm(size, dtype)
    hidden_RD = (3 * torch.randn(ROWS, size) + 5).to(dtype)  # a mean far from 0
    update_RD = torch.randn(ROWS, size).to(dtype)
    normed_RD = TRITON_NORMS.add_norm(hidden_RD.to(device), update_RD.to(device), norm.to(device))
    expected_RD = TORCH_NORMS.add_norm(hidden_RD.float(), update_RD.float(), norm.cpu().float())
    return difference(normed_RD, expected_RD, dtype)


@torch.inference_mode()
def embed_norm_error(device: str, size: int, dtype: torch.dtype, scale: float | None) -> float:
    from pipeline.bigbird.norm_triton import TRITON_NORMS

    torch.manual_seed(0)
    norm, dropout = random_norm(size, dtype), nn.Dropout(0.5).eval()
    word_VD, position_PD, type_2D = (torch.randn(n, size).to(dtype) for n in (30, 20, 2))
    token_id_T, position_T = torch.randint(30, (ROWS,)), torch.randint(20, (ROWS,))
    normed_TD = TRITON_NORMS.embed_norm(
        token_id_T.to(device),
        position_T.to(device),
        Tables(word_VD.to(device), position_PD.to(device), type_2D[0].to(device), scale),
        dropout,
        norm.to(device),
    )
    expected_TD = TORCH_NORMS.embed_norm(
        token_id_T,
        position_T,
        Tables(word_VD.float(), position_PD.float(), type_2D[0].float(), scale),
        dropout,
        norm.cpu().float(),
    )
    return difference(normed_TD, expected_TD, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size", [12, 64, 100, 768, 1024])
def test_add_norm(run: Run, size: int, dtype: torch.dtype) -> None:
    assert run(add_norm_error, size, dtype) < TOLERANCE[dtype]


@pytest.mark.parametrize("scale", [None, 768**0.5], ids=["plain", "rescaled"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size", [100, 768])
def test_embed_norm(run: Run, size: int, dtype: torch.dtype, scale: float | None) -> None:
    assert run(embed_norm_error, size, dtype, scale) < TOLERANCE[dtype]
