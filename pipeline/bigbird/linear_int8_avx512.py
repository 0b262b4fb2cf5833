"""The products in 8 bits with what lies around them in C: rounding, scales, bias and tanh GELU, in bfloat16.

See linear_int8_avx512.c. Of the four products of a layer of BigBird-base, 4,096 rows on one core of an AMD EPYC with
avx512_vnni: 151 ms, by torch's operators around them 196, and in bfloat16 303.
"""

import torch
from torch import Tensor

from pipeline.bigbird.avx512_library import operators_in_c, spread
from pipeline.bigbird.linear import Outputs, activate
from pipeline.bigbird.linear_int8 import Int8Linear
from pipeline.terms import Activation

VALUES_OF_A_ROUNDING, VALUES_OF_A_SCALING = 500_000, 250_000  # of a thread, at least: 100 microseconds


class Avx512Int8Linear(Int8Linear):
    """An Int8Linear whose scale of a row is float32, not bfloat16: it rounds nearer."""

    def forward(self, x_RI: Tensor, outputs: Outputs | None = None) -> Tensor:
        """Computes y_RO, bfloat16 as x_RI, of some of the outputs that it was made for."""
        return self._scaled(x_RI, outputs, gelu=False)

    def activated(self, x_RI: Tensor, activation: Activation) -> Tensor:
        """Computes activation(product) -> y_RO, of all outputs."""
        return self._scaled(x_RI, None, gelu=True) if activation == "gelu_tanh" else activate(self(x_RI), activation)

    def _scaled(self, x_RI: Tensor, outputs: Outputs | None, *, gelu: bool) -> Tensor:
        weight = self._parts[outputs]
        rounded_RI, scale_R = avx512_round_rows(x_RI)
        return avx512_scale_rows(weight.of_rounded(rounded_RI, x_RI.dtype), scale_R, weight.bias_O, gelu=gelu)


def avx512_round_rows(x_RI: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds x_RI, contiguous, to uint8 with zero point 128; gives it and the scale of each row, float32."""
    library = operators_in_c()
    assert x_RI.is_contiguous()
    rounded_RI = torch.empty(x_RI.shape, dtype=torch.uint8)
    scale_R = torch.empty(len(x_RI))
    arguments = (x_RI.data_ptr(), x_RI.shape[1], rounded_RI.data_ptr(), scale_R.data_ptr())
    least = max(1, VALUES_OF_A_ROUNDING // x_RI.shape[1])
    spread(len(x_RI), least, lambda low, high: library.rookery_round_rows(*arguments, low, high))
    return rounded_RI, scale_R


def avx512_scale_rows(y_RO: Tensor, scale_R: Tensor, bias_O: Tensor, *, gelu: bool) -> Tensor:
    """Computes y * scale + bias, or its tanh GELU, in place, of y_RO, contiguous; gives y_RO."""
    library = operators_in_c()
    assert y_RO.is_contiguous()
    arguments = (y_RO.data_ptr(), scale_R.data_ptr(), bias_O.data_ptr(), y_RO.shape[1], gelu)
    least = max(1, VALUES_OF_A_SCALING // y_RO.shape[1])
    spread(len(y_RO), least, lambda low, high: library.rookery_scale_rows(*arguments, low, high))
    return y_RO
