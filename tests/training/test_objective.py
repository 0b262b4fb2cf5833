"""Against torch's own losses on the whole batch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.errors import ConfigError
from pipeline.training.objective import Objective, class_weights, score

LABELS = ("crow", "jay", "rook")
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
    torch.testing.assert_close(
        loss(Objective("regression"), logits, target), F.mse_loss(logits, target)
    )


def test_balanced_weights_give_each_label_the_same_say():
    weight = class_weights("balanced", "single_label", LABELS, SINGLE)
    assert weight is not None
    say = [float(weight[SINGLE[label == SINGLE]].sum()) for label in range(3)]
    assert say == pytest.approx([2, 2, 2])


def test_balanced_weights_of_several_labels_weigh_yes_as_much_as_no():
    weight = class_weights("balanced", "multi_label", LABELS, MULTI)
    assert weight is not None
    assert weight.tolist() == pytest.approx([1, 3, 1 / 3])


def test_given_weights_are_in_the_labels_order():
    weight = class_weights({"rook": 3.0, "crow": 1.0, "jay": 2.0}, "single_label", LABELS, SINGLE)
    assert weight is not None
    assert weight.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("settings", "problem_type", "message"),
    [
        ({"rook": 1.0}, "single_label", "expected each label: crow, jay, rook"),
        ("balanced", "regression", "a regression has no classes"),
    ],
)
def test_weights_that_do_not_fit(settings, problem_type, message):
    with pytest.raises(ConfigError, match=message):
        class_weights(settings, problem_type, LABELS, SINGLE)


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
)  # fmt: skip
def test_scores(problem_type, logits, target, expected):
    name, value = score(problem_type, logits, target)
    assert name == expected[0]
    assert value == pytest.approx(expected[1], abs=1e-6)
