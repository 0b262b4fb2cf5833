"""oneDNN's products with tanh GELU in C behind them, in bfloat16: no gradients. See gelu_avx512.c.

oneDNN's own epilogue computes it in the product. Of 4,096 x 768 -> 3,072 that takes as long as the product itself on a
Xeon with AMX (13.7 ms and 6.7; in C 2.6, on 2 cores), and 2 % longer of a layer than C on an AMD EPYC with avx512_bf16.
"""

from torch import Tensor

from pipeline.bigbird.avx512_library import operators_in_c, spread
from pipeline.bigbird.linear_mkldnn import MkldnnLinear
from pipeline.terms import Activation

VALUES_OF_A_THREAD = 500_000  # 100 microseconds


class MkldnnGeluLinear(MkldnnLinear):
    """An MkldnnLinear, other than in tanh GELU."""

    def activated(self, x_RI: Tensor, activation: Activation) -> Tensor:
        """Computes activation(product) -> y_RO, of all outputs."""
        if activation != "gelu_tanh":
            return super().activated(x_RI, activation)
        return avx512_gelu_tanh(self(x_RI))


def avx512_gelu_tanh(x: Tensor) -> Tensor:
    """Computes it in place, of x of any shape, contiguous; gives x."""
    library = operators_in_c()
    assert x.is_contiguous()
    pointer = x.data_ptr()
    spread(x.numel(), VALUES_OF_A_THREAD, lambda low, high: library.rookery_gelu_tanh(pointer, low, high))
    return x
