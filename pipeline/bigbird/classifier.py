"""Encoder, pooling and head: token ids and a layout in, one row of logits for each window out.

Shapes: T rows of the pack, W windows, L outputs.
"""

from typing import Self

import torch
from torch import Tensor, nn

from pipeline.bigbird.config import EncoderConfig, HeadConfig
from pipeline.bigbird.encoder import Encoder
from pipeline.bigbird.heads import build_head
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.operators import Operators

INITIAL_STANDARD_DEVIATION = 0.02  # transformers' initializer_range


class Classifier(nn.Module):
    """The encoder has `dtype`; the head is float32 always: it is small, and logits keep their bits.

    Its parameters are uninitialised: see `fresh`, and `load` in checkpoint.py.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        head: HeadConfig,
        *,
        dtype: torch.dtype = torch.float32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder_config = encoder
        self.head_config = head
        with torch.device("meta"):  # nobody needs torch's own initial values
            self.encoder = Encoder(encoder, dropout)
            self.head = build_head(encoder, head, dropout)
        self.encoder.to(dtype)
        self.to_empty(device="cpu")

    @classmethod
    def fresh(
        cls, encoder: EncoderConfig, head: HeadConfig, *, seed: int, dropout: float = 0.0
    ) -> Self:
        """For training from scratch: weights normal(0, 0.02), biases 0, norms 1; float32."""
        classifier = cls(encoder, head, dropout=dropout)
        generator = torch.Generator().manual_seed(seed)
        for module in classifier.modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0, INITIAL_STANDARD_DEVIATION, generator)
            if isinstance(module, nn.LayerNorm | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        return classifier

    def use(self, operators: Operators) -> None:
        """Computes with `operators` from now on; if they are for inference, there is no way back."""
        self.encoder.use(operators, first_rows=self.head_config.pooling == "cls")

    def forward(self, token_id_T: Tensor, layout: Layout) -> Tensor:
        """logits_WL, float32.

        token_id_T is on the classifier's device, as is the layout; `Layout.spread` makes it.
        """
        logits_WL: Tensor = self.head(self._pool(token_id_T, layout).float())
        return logits_WL

    def _pool(self, token_id_T: Tensor, layout: Layout) -> Tensor:
        if self.head_config.pooling == "cls":
            return self.encoder.first_rows(token_id_T, layout)
        raise NotImplementedError(self.head_config.pooling)  # HeadConfig.from_json refuses it
