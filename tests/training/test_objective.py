"""Against torch's own losses on the whole batch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.training.objective import Objective, score

SINGLE = np.array([0, 2, 2, 2, 1, 2])
MULTI = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [1, 1, 0]], np.float32)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def loss(objective: Objective, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """In two parts, as packs bring them."""
    parts = [
        objective.sums(logits[part], target[part], torch.ones(len(target[part])))
        for part in (slice(0, 1), slice(1, None))
    ]
    total, weight = (torch.stack(values).sum() for values in zip(*parts, strict=True))
    return total / weight


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_single_label(weight):
    logits, target = random(6, 3), torch.from_numpy(SINGLE)
    expected = F.cross_entropy(logits, target, weight)
    torch.testing.assert_close(loss(Objective("single_label", weight), logits, target), expected)


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_multi_label(weight):
    logits, target = random(4, 3), torch.from_numpy(MULTI)
    expected = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    torch.testing.assert_close(loss(Objective("multi_label", weight), logits, target), expected)


def test_regression():
    logits, target = random(5, 1), random(5, 1).flip(0)
    torch.testing.assert_close(loss(Objective("regression"), logits, target), F.mse_loss(logits, target))


VALUES = np.array([[1.0], [2.0], [4.0]], np.float32)


@pytest.mark.parametrize(
    ("problem_type", "logits", "target", "expected"),
    [
        ("single_label", np.eye(3, dtype=np.float32)[[0, 2, 2, 1, 1, 0]], SINGLE, ("accuracy", 4 / 6)),
        ("multi_label", MULTI * 2 - 1, MULTI, ("micro F1", 1)),
        ("multi_label", np.ones_like(MULTI), MULTI, ("micro F1", 12 / 18)),
        ("regression", VALUES, VALUES, ("R²", 1)),
        ("regression", np.full_like(VALUES, VALUES.mean()), VALUES, ("R²", 0)),
    ],
)
def test_scores(problem_type, logits, target, expected):
    name, value = score(problem_type, logits, target)
    assert name == expected[0]
    assert value == pytest.approx(expected[1], abs=1e-6)
