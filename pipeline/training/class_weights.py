"""How much each label's documents count. Without torch: the driver looks before anything is computed.

Shapes: L labels.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError
from pipeline.terms import ProblemType

Weights = npt.NDArray[np.float32]


def class_weights(
    settings: Literal["balanced"] | Mapping[str, float] | None,
    problem_type: ProblemType,
    labels: tuple[str, ...],
    target: npt.NDArray[Any],
) -> Weights | None:
    """Makes `weight_L` of training.class_weights; `balanced` gives every label the same say.

    Raises:
        ConfigError: weights for a regression, or for other labels than there are.
    """
    if settings is None:
        return None
    if problem_type == "regression":
        raise ConfigError("training.class_weights: a regression has no classes; remove them")
    if settings != "balanced":
        assert not isinstance(settings, str)
        if set(settings) != set(labels):
            raise ConfigError(
                f"training.class_weights names {', '.join(sorted(settings))}; expected each label: {', '.join(labels)}"
            )
        return np.array([settings[label] for label in labels], np.float32)
    if problem_type == "multi_label":
        count_L = target.sum(0).clip(min=1)
        return np.asarray((len(target) - count_L) / count_L, np.float32).clip(min=1e-3)
    count_L = np.bincount(target, minlength=len(labels)).clip(min=1)
    return np.asarray(len(target) / (len(labels) * count_L), np.float32)
