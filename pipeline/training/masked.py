"""The masked-language-model phase: an encoder learns to guess the tokens that it does not see.

On top of the encoder is transformers' BigBirdLMPredictionHead: dense, activation, norm, and the word embeddings
once more. It is thrown away afterwards.

Shapes: T rows of the pack, M hidden tokens, D hidden size, V words.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.bigbird.classifier import INITIAL_STANDARD_DEVIATION
from pipeline.bigbird.config import EncoderConfig
from pipeline.bigbird.encoder import Encoder
from pipeline.bigbird.linear import activate
from pipeline.training.batches import Batch
from pipeline.training.model import autocast


class MaskedModel(nn.Module):
    """Trains `encoder` in place."""

    def __init__(self, encoder: Encoder, config: EncoderConfig, device: str, dtype: str, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.bias_V = nn.Parameter(torch.zeros(config.vocab_size))
        self.activation = config.activation
        self.dtype = dtype
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.dense.weight, 0, INITIAL_STANDARD_DEVIATION, generator)
        nn.init.zeros_(self.dense.bias)
        self.to(device)

    @property
    def module(self) -> nn.Module:
        return self

    def begin(self) -> None:
        self.train()

    def sums(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of the hidden tokens' losses, and how many they are."""
        device = self.bias_V.device
        row_M = (batch.token_id_T != batch.original_id_T).nonzero().flatten()
        with autocast(device.type, self.dtype):
            hidden_TD = self.encoder(batch.token_id_T.to(device), batch.layout.to(device))
            inner_MD = self.norm(activate(self.dense(hidden_TD[row_M.to(device)]), self.activation))
            logits_MV = F.linear(inner_MD, self.encoder.embeddings.word.weight, self.bias_V)
        target_M = batch.original_id_T[row_M].to(device)
        loss = F.cross_entropy(logits_MV.float(), target_M, reduction="sum")
        return loss, torch.tensor(float(len(row_M)), device=device)
