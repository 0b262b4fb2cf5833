"""What a pooling has to say of itself."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig


class Pooling(nn.Module):
    """Base of all poolings. Weights are float32 always, and uninitialised until they are loaded or `initialise`d."""

    # Whether it looks at the first row of each window only: then nothing else of the encoder's last layer is computed.
    first_rows_only: ClassVar[bool] = False
    # Modules and parameters of it -> their names in a checkpoint's folder. What is not here is stored as `pooling.`
    # and the name that it has here.
    stored_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, encoder: EncoderConfig, config: HeadConfig) -> None:
        super().__init__()

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """Computes pooled_WD, float32, of hidden_TD, or with `first_rows_only` of hidden_WD, in the encoder's dtype."""
        raise NotImplementedError
