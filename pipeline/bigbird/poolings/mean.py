"""The pooling `mean`."""

from torch import Tensor

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.poolings.pooling import Pooling
from pipeline.bigbird.poolings.window_reductions import window_sums


class Mean(Pooling):
    """Computes the mean over all tokens of each window."""

    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        """Computes pooled_WD, float32."""
        return window_sums(hidden_TD.float(), layout) / layout.length_W[:, None]
