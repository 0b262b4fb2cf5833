"""The products with weights on a GPU: bias and tanh-GELU in the epilogue of cuBLASLt, no gradients.

On CUDA `_addmm_activation` computes the tanh form (pytorch PR 104061). On a CPU the same call computes the erf form, so
it is used on CUDA only.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from pipeline.bigbird.linear import ROWS, Linear, Outputs
from pipeline.terms import Activation


class CudaLinear(Linear):
    """Shares the weights of the `Linear` that it replaces."""

    def __init__(self, linear: Linear, outputs: Iterable[Outputs | None], rows: int = ROWS) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, "meta")
        self.weight, self.bias = linear.weight, linear.bias

    def activated(self, x_RI: Tensor, activation: Activation) -> Tensor:
        """Computes activation(product) -> y_RO; of tanh-GELU with a bias in one kernel."""
        if activation != "gelu_tanh" or self.bias is None:
            return super().activated(x_RI, activation)
        y_RO: Tensor = torch.ops.aten._addmm_activation(self.bias, x_RI, self.weight.t(), use_gelu=True)
        return y_RO
