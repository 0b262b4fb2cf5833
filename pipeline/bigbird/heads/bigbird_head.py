"""The head `bigbird`, transformers' own of BigBirdForSequenceClassification."""

from typing import ClassVar

from pipeline.bigbird.heads.dense_head import DenseHead
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig


class BigBirdHead(DenseHead):
    """Computes linear(activation(dense(pooled))), with the encoder's activation."""

    stored_names: ClassVar = {"dense": "classifier.dense", "out": "classifier.out_proj"}

    def __init__(self, encoder: EncoderConfig, config: HeadConfig) -> None:
        super().__init__(encoder, config)
        self.activation = encoder.activation
