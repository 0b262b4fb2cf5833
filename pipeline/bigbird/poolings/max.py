"""The pooling `max`."""

from torch import Tensor

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.poolings.pooling import Pooling
from pipeline.bigbird.poolings.window_reductions import window_maxima


class Max(Pooling):
    """Computes the largest value of each hidden unit over all tokens of each window."""

    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        """Computes pooled_WD, float32."""
        return window_maxima(hidden_TD.float(), layout)
