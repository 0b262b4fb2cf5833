import pytest
import torch
from torch import nn

from pipeline.training.dropout import Dropout, replace_dropouts


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_share_is_dropped_and_the_mean_kept(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    found = Dropout(p)(torch.ones(1001, 999, dtype=dtype)).double()
    values = found.unique()
    assert values[0] == 0
    assert values[1:].tolist() == pytest.approx([1 / (1 - p)], rel=4e-3)  # bf16 has 8 bits
    # 1e6 draws: five standard deviations
    assert (found == 0).double().mean() == pytest.approx(p, abs=5 * (p * (1 - p) / 1e6) ** 0.5)


def test_elements_are_dropped_independently() -> None:
    """Those that share a draw too: pairs at every distance below four of them agree as often as chance has it."""
    torch.manual_seed(1)
    zero = Dropout(0.5)(torch.ones(1_000_000)) == 0
    for distance in range(1, 9):
        agree = (zero[distance:] == zero[:-distance]).double().mean()
        assert agree == pytest.approx(0.5, abs=5 * 0.5 / 1e3)


def test_a_seed_repeats_it_and_gradients_follow_it() -> None:
    hidden = torch.ones(7, 5, requires_grad=True)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(Dropout(0.3)(hidden))
    assert found[0].equal(found[1])
    found[0].sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.equal(found[0])


def test_it_takes_every_dropouts_place() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9)))
    replace_dropouts(model, 0.25)
    found = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert [(type(module), module.p) for module in found] == [(Dropout, 0.25)] * 2
    hidden = torch.ones(4)
    assert model.eval()[0](hidden).equal(hidden)
