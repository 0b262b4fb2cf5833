"""How often the shipped checkpoint labels real documents as it does in fp32, and how far logits are apart.

Shapes: N documents, L labels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.measure.benchmark.contenders import Rookery
from jobs.measure.benchmark.token_windows import TokenWindow
from jobs.sample import CHECKPOINT
from pipeline.terms import DeviceKind, Dtype


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a dtype's labels and logits compare with fp32's; logits by their absolute differences."""

    dtype: Dtype
    documents: int
    same_label: float
    worst_logit: float
    mean_logit: float


def measure_agreement(windows: list[TokenWindow], dtypes: list[Dtype], device: DeviceKind) -> list[Agreement]:
    """Compares each dtype with fp32, on the first window of each document."""
    expected_NL = _logits(windows, "fp32", device)
    return [_compare(dtype, _logits(windows, dtype, device), expected_NL) for dtype in dtypes]


def _logits(windows: list[TokenWindow], dtype: Dtype, device: DeviceKind) -> npt.NDArray[np.float32]:
    contender = Rookery(CHECKPOINT, device, dtype)
    return contender(windows)


def _compare(dtype: Dtype, logits_NL: npt.NDArray[np.float32], expected_NL: npt.NDArray[np.float32]) -> Agreement:
    error_NL = np.abs(logits_NL - expected_NL)
    same = (logits_NL.argmax(1) == expected_NL.argmax(1)).mean()
    return Agreement(dtype, len(logits_NL), float(same), float(error_NL.max()), float(error_NL.mean()))
