"""What a head has to say of itself."""

from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor, nn

from pipeline.bigbird.model_config import EncoderConfig, HeadConfig


class Head(nn.Module):
    """Base of all heads. Weights are float32 always, and uninitialised until they are loaded or `initialise`d.

    A dropout is `nn.Dropout(0.0)`: a place for training to put its own.
    """

    # Modules and parameters of it -> their names in a checkpoint's folder. What is not here is stored as `head.` and
    # the name that it has here.
    stored_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, encoder: EncoderConfig, config: HeadConfig) -> None:
        super().__init__()

    @classmethod
    def of(cls, encoder: EncoderConfig, config: HeadConfig, word: nn.Embedding) -> Self:
        """Builds it on an encoder, whose word embeddings are `word`: a head that has a use for them overrides this."""
        return cls(encoder, config)

    def forward(self, pooled_RD: Tensor) -> Tensor:
        """Computes logits_RL, float32, a row for each window or token; L is `HeadConfig.outputs`."""
        raise NotImplementedError
