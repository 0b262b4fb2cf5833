"""What the encoder normalises, with the sums before it; one signature for every implementation."""

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Tables:
    """What an embedding is the sum of: word, times `scale` if there is one, position and type."""

    word_VD: Tensor
    position_PD: Tensor
    token_type_D: Tensor
    scale: float | None


class AddNorm(Protocol):
    """Adds a layer's update to its input, and normalises each row."""

    def __call__(self, hidden_RD: Tensor, update_RD: Tensor, norm: nn.LayerNorm) -> Tensor:
        """norm(hidden + update)."""


class EmbedNorm(Protocol):
    """Embeds token ids, and normalises each row."""

    def __call__(
        self,
        token_id_T: Tensor,
        position_T: Tensor,
        tables: Tables,
        dropout: nn.Dropout,
        norm: nn.LayerNorm,
    ) -> Tensor:
        """norm(dropout(the sum of the tables' rows))."""


@dataclass(frozen=True, slots=True)
class Norms:
    """One implementation of both functions, for one kind of device."""

    add_norm: AddNorm
    embed_norm: EmbedNorm


def torch_add_norm(hidden_RD: Tensor, update_RD: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Computes normed_RD; any device, differentiable."""
    normed_RD: Tensor = norm(hidden_RD + update_RD)
    return normed_RD


def torch_embed_norm(
    token_id_T: Tensor, position_T: Tensor, tables: Tables, dropout: nn.Dropout, norm: nn.LayerNorm
) -> Tensor:
    """Computes normed_TD; any device, differentiable."""
    word_TD = F.embedding(token_id_T, tables.word_VD)
    if tables.scale is not None:
        word_TD = word_TD * tables.scale
    hidden_TD = word_TD + tables.token_type_D + F.embedding(position_T, tables.position_PD)
    normed_TD: Tensor = norm(dropout(hidden_TD))
    return normed_TD


TORCH_NORMS = Norms(torch_add_norm, torch_embed_norm)
