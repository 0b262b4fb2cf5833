"""The head `none`: an embedding is what the pooling gives."""

from torch import Tensor

from pipeline.bigbird.heads.head import Head


class NoHead(Head):
    """Gives the pooled hidden state as it is."""

    def forward(self, pooled_WD: Tensor) -> Tensor:
        """Gives pooled_WD back."""
        return pooled_WD
