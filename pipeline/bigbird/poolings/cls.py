"""The pooling `cls`."""

from torch import Tensor

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.poolings.pooling import Pooling


class Cls(Pooling):
    """Gives the hidden state of each window's first token."""

    first_rows_only = True

    def forward(self, first_WD: Tensor, layout: Layout) -> Tensor:
        """Gives first_WD as float32."""
        return first_WD.float()
