"""The masked-language-model phase: an encoder learns to guess the tokens that it does not see.

On top of the encoder is the network's own MaskedLmHead. It is thrown away afterwards: what training makes is a
classifier, and a folder that holds a second head's weights is none that can be loaded.

Letters as in pipeline/bigbird/__init__.py; M tokens that are hidden.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.bigbird.classifier import initialise
from pipeline.bigbird.encoder import Encoder
from pipeline.bigbird.heads.masked_lm_head import MaskedLmHead
from pipeline.bigbird.model_config import EncoderConfig
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier
from pipeline.training.batches import Batch
from pipeline.training.model import autocast


def new_head(config: EncoderConfig, word: nn.Embedding, seed: int) -> MaskedLmHead:
    """Builds a head that knows nothing; `word` are the word embeddings of the encoder below it."""
    head = MaskedLmHead(config, word)
    initialise(head, seed)
    return head


def pretrained_head(folder: CheckpointFolder, word: nn.Embedding) -> MaskedLmHead:
    """Builds the head of a checkpoint whose task is masked_lm; `word` are the word embeddings of the encoder below it.

    Raises:
        CheckpointError: a file cannot be read, or does not hold exactly this model.
    """
    head = MaskedLmHead(folder.encoder, word)
    head.load_state_dict(load_classifier(folder, torch.float32).head.state_dict())
    return head


class MaskedModel(nn.Module):
    """Trains `encoder` and `head` in place; the head's word embeddings are the encoder's."""

    def __init__(self, encoder: Encoder, head: MaskedLmHead, device: str, dtype: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.dtype = dtype
        self.to(device)

    @property
    def module(self) -> nn.Module:
        return self

    def begin(self) -> None:
        """Switches train mode on: dropout acts."""
        self.train()

    def sums(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sums the losses of the hidden tokens, in nats, and counts them: two scalars on the model's device."""
        device = self.head.bias.device
        row_M = (batch.token_id_T != batch.original_id_T).nonzero().flatten()
        with autocast(device.type, self.dtype):
            hidden_TD = self.encoder(batch.token_id_T.to(device), batch.layout.to(device))
            logits_MV = self.head(hidden_TD[row_M.to(device)])
        target_M = batch.original_id_T[row_M].to(device)
        loss = F.cross_entropy(logits_MV.float(), target_M, reduction="sum")
        return loss, torch.tensor(float(len(row_M)), device=device)
