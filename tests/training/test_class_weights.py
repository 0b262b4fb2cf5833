"""By the say that each label gets."""

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.training.class_weights import class_weights

LABELS = ("crow", "jay", "rook")
SINGLE = np.array([0, 2, 2, 2, 1, 2])
MULTI = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [1, 1, 0]], np.float32)


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
