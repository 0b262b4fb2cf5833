"""The products with weights in 8 bits on a CPU, by oneDNN: no gradients.

The weight is rounded once, with a scale for each output. Each row of the input is rounded when it comes ("dynamic"),
with a scale of its own, so that a row's result does not depend on its neighbours; torch's own dynamic quantisation has
one scale for the whole batch. Symmetric, and inputs travel as uint8 with zero point 128, because oneDNN has no fast
kernel for int8 ones.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipeline.bigbird.linear import ROWS, Linear, Outputs, activate
from pipeline.terms import Activation

WEIGHT_TOP = 127
INPUT_TOP = 126  # not 127: a scale that bfloat16 rounds down may not push the largest value past 255
ZERO = 128


class Int8Linear(nn.Module):
    """Holds rounded copies of the weights of the `Linear` that it replaces, for the `outputs` that are wanted."""

    def __init__(self, linear: Linear, outputs: Iterable[Outputs | None], rows: int = ROWS) -> None:
        super().__init__()
        self._parts = {chosen: _Int8Weight(*linear.part(chosen)) for chosen in outputs}

    def forward(self, x_RI: Tensor, outputs: Outputs | None = None) -> Tensor:
        """Computes y_RO in x_RI's dtype, of some of the outputs that it was made for."""
        return self._parts[outputs].product(x_RI)

    def activated(self, x_RI: Tensor, activation: Activation) -> Tensor:
        """Computes activation(product) -> y_RO in x_RI's dtype, of all outputs."""
        y_RO = self(x_RI)
        return _tanh_gelu(y_RO) if activation == "gelu_tanh" else activate(y_RO, activation)


class _Int8Weight:
    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        weight_OI = weight_OI.detach().float()
        tiny = torch.finfo(torch.float32).tiny  # an output whose weights are all 0
        self._scale_O = (weight_OI.abs().amax(1) / WEIGHT_TOP).clamp(min=tiny)
        self._zero_O = torch.zeros(len(weight_OI), dtype=torch.int64)
        rounded_OI = (weight_OI / self._scale_O[:, None]).round().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(rounded_OI, None)
        self.bias_O = torch.zeros(len(weight_OI)) if bias_O is None else bias_O.detach().float().clone()

    def product(self, x_RI: Tensor) -> Tensor:
        rounded_RI, scale_R1 = _rounded(x_RI)
        return torch.addcmul(self.bias_O.to(x_RI.dtype), self.of_rounded(rounded_RI, x_RI.dtype), scale_R1)

    def of_rounded(self, rounded_RI: Tensor, dtype: torch.dtype) -> Tensor:
        """The product with rounded inputs, without their scale and without bias."""
        y_RO: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded_RI,
            1.0,
            ZERO,
            self._packed,
            self._scale_O,
            self._zero_O,
            None,
            1.0,
            0,
            dtype,
            "none",
            [],
            "",
        )
        return y_RO


def _rounded(x_RI: Tensor) -> tuple[Tensor, Tensor]:
    """uint8, and the scale of each row in the dtype of `x_RI`."""
    scale_R1 = (_largest(x_RI) / INPUT_TOP).clamp(min=torch.finfo(x_RI.dtype).tiny)
    signed_RI = (x_RI.float() / scale_R1.float()).round_().to(torch.int8)  # to uint8: 8 times as slow
    return signed_RI.view(torch.uint8).bitwise_xor_(ZERO), scale_R1  # the same as + ZERO


def _largest(x_RI: Tensor) -> Tensor:
    """The largest magnitude of each row, as [R, 1]; NaN where there is one.

    Floats without their sign are ordered as the integers of the same bits, which torch compares three times as fast.
    """
    integer = torch.int16 if x_RI.element_size() == 2 else torch.int32
    magnitude_RI = x_RI.view(integer) & torch.iinfo(integer).max
    return magnitude_RI.amax(1, keepdim=True).view(x_RI.dtype)


def _tanh_gelu(x: Tensor) -> Tensor:
    """Computes tanh-GELU as x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x ** 3)): half of the time of torch's."""
    scale = 2 * math.sqrt(2 / math.pi)
    inner = x.square().mul_(scale * 0.044715).add_(scale).mul_(x)
    return inner.sigmoid_().mul_(x)
