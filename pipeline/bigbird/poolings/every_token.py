"""The pooling `tokens`: none, for heads with a row of outputs for each token."""

from torch import Tensor

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.poolings.pooling import Pooling


class EveryToken(Pooling):
    """Gives the hidden state of each token, windows end to end."""

    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        """Gives hidden_ND, float32."""
        return hidden_TD[layout.row_N].float()
