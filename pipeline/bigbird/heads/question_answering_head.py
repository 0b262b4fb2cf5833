"""The head `question_answering`, transformers' own of BigBirdForQuestionAnswering."""

from typing import ClassVar

from torch import Tensor, nn

from pipeline.bigbird.heads.head import Head
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig


class QuestionAnsweringHead(Head):
    """Computes one more feed-forward layer of the encoder's sizes, then where an answer starts and where it ends."""

    stored_names: ClassVar = {
        "up": "qa_classifier.intermediate.dense",
        "down": "qa_classifier.output.dense",
        "norm": "qa_classifier.output.LayerNorm",
        "out": "qa_classifier.qa_outputs",
    }

    def __init__(self, encoder: EncoderConfig, config: HeadConfig) -> None:
        super().__init__(encoder, config)
        size = encoder.hidden_size
        self.up = Linear(size, encoder.intermediate_size)
        self.down = Linear(encoder.intermediate_size, size)
        self.norm = nn.LayerNorm(size, encoder.norm_eps)
        self.out = Linear(size, config.outputs(encoder))
        self.activation = encoder.activation
        self.dropout = nn.Dropout(0.0)

    def forward(self, hidden_ND: Tensor) -> Tensor:
        """Computes logits_NL of every token, float32: L is start and end."""
        inner_NF = self.up.activated(self.dropout(hidden_ND), self.activation)
        update_ND = self.dropout(self.down(inner_NF))
        logits_NL: Tensor = self.out(self.norm(update_ND + hidden_ND))
        return logits_NL
