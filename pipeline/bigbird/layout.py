"""Who attends to whom in one pack, as integers: computed once per pack, used by every layer.

The rule is BigBird's in eval mode (docs/encoder.md), each window as if alone:
  * a window of at most `full_attention_limit` tokens: every token sees every token;
  * otherwise the window's first and last block see every token, and block i sees the distinct
    blocks of {0, i-1, i, i+1, last}, with ln(1 + r) added to the scores of block 0, because in
    eval mode the r random blocks are all block 0;
  * keys past the window's end are seen by none.

Windows lie end to end, each rounded up to whole blocks.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.bigbird.model_config import EncoderConfig


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """G attention problems of one shape: Q query blocks that all see the same K key blocks.

    `bias_GS`, float32, is added to the scores: 0, ln(1 + r), or -inf for a key that is not seen.
    `window_G` is the window that a problem belongs to.
    """

    window_G: Tensor
    query_block_GQ: Tensor
    key_block_GK: Tensor
    bias_GS: Tensor

    def to(self, device: torch.device | str) -> "AttentionGroup":
        """Copies it to a device."""
        return AttentionGroup(
            self.window_G.to(device),
            self.query_block_GQ.to(device),
            self.key_block_GK.to(device),
            self.bias_GS.to(device),
        )


@dataclass(frozen=True, eq=False)
class Layout:
    """A pack. Each block is a query block of exactly one problem, in one of `wide` and `middle`."""

    windows: "_Windows"
    block_size: int
    full_attention_limit: int
    first_block_bias: float
    length_W: Tensor
    blocks_W: Tensor
    first_block_W: Tensor
    row_N: Tensor
    position_T: Tensor

    @classmethod
    def of(cls, lengths: npt.ArrayLike, config: EncoderConfig) -> Self:
        """Lays out windows of `lengths` tokens each, on the CPU.

        Raises:
            ValueError: no window, or a length that is not from 1 to the encoder's positions.
        """
        windows = _Windows.of(_checked(lengths, config.max_positions), config)
        window_T = torch.repeat_interleave(windows.blocks_W * config.block_size)
        offset_T = torch.arange(len(window_T)) - windows.first_row_W[window_T]
        real_T = offset_T < windows.length_W[window_T]
        return cls(
            windows=windows,
            block_size=config.block_size,
            full_attention_limit=config.full_attention_limit,
            first_block_bias=math.log(1 + config.random_blocks),
            length_W=windows.length_W,
            blocks_W=windows.blocks_W,
            first_block_W=windows.first_block_W,
            row_N=real_T.nonzero().flatten(),
            position_T=torch.where(real_T, offset_T, 0),  # past the end there may be no position
        )

    @property
    def rows(self) -> int:
        """T: the pack's rows, padding to whole blocks included."""
        return len(self.position_T)

    @property
    def first_row_W(self) -> Tensor:
        """The row of each window's first token."""
        return self.first_block_W * self.block_size

    @property
    def real_T(self) -> Tensor:
        """False in the padding rows."""
        padding_T = torch.zeros(self.rows, dtype=torch.bool, device=self.row_N.device)
        return padding_T.index_fill_(0, self.row_N, True)

    @property
    def window_T(self) -> Tensor:
        """The window that a row belongs to, padding rows included."""
        rows_W = self.blocks_W * self.block_size
        return torch.repeat_interleave(rows_W, output_size=self.rows)  # without it a GPU is waited for

    @cached_property
    def wide(self) -> tuple[AttentionGroup, ...]:
        """A group for each number of blocks that windows have: the blocks that see all of their window.

        Those are all blocks of a short window, the first and the last of a long one. Computed only for an attention
        that asks.
        """
        return tuple(group.to(self.length_W.device) for group in self.windows.wide_groups())

    @cached_property
    def middle(self) -> AttentionGroup | None:
        """The other blocks of long windows, one problem each; None if there are none."""
        group = self.windows.middle_group()
        return None if group is None else group.to(self.length_W.device)

    @property
    def groups(self) -> tuple[AttentionGroup, ...]:
        """All attention problems of the pack: each block is a query block of exactly one."""
        return self.wide if self.middle is None else (*self.wide, self.middle)

    def spread(self, token_ids_N: Tensor) -> Tensor:
        """Token ids without padding -> token_ids_T; padding rows get id 0, which nobody sees."""
        return token_ids_N.new_zeros(self.rows).index_copy(0, self.row_N, token_ids_N)

    def to(self, device: torch.device | str) -> "Layout":
        """On a GPU, when this returns, the copies from pinned memory may still be under way, on the current stream."""
        on_gpu = torch.device(device).type == "cuda"
        moved: dict[str, Any] = {
            name: (tensor.pin_memory() if on_gpu else tensor).to(device, non_blocking=on_gpu)
            for name, tensor in vars(self).items()
            if isinstance(tensor, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class _Windows:
    """Where each window lies, and the groups that follow from it."""

    config: EncoderConfig
    length_W: Tensor
    blocks_W: Tensor
    first_block_W: Tensor

    @classmethod
    def of(cls, length_W: Tensor, config: EncoderConfig) -> Self:
        blocks_W = (length_W + config.block_size - 1) // config.block_size
        return cls(config, length_W, blocks_W, blocks_W.cumsum(0) - blocks_W)

    @property
    def first_row_W(self) -> Tensor:
        return self.first_block_W * self.config.block_size

    @property
    def is_long_W(self) -> Tensor:
        return self.length_W > self.config.full_attention_limit

    def wide_groups(self) -> tuple[AttentionGroup, ...]:
        """One group for each number of blocks, so that few products serve many windows.

        The limit is a whole number of blocks, so windows of one group are all long or all short.
        (For full attention it may be none, but then no window is long.)
        """
        return tuple(
            self._wide_group((self.blocks_W == blocks).nonzero().flatten())
            for blocks in torch.unique(self.blocks_W).tolist()
        )

    def _wide_group(self, window_G: Tensor) -> AttentionGroup:
        blocks = int(self.blocks_W[window_G[0]])
        queries = [0, blocks - 1] if bool(self.is_long_W[window_G[0]]) else range(blocks)
        first_G1 = self.first_block_W[window_G, None]
        key_GK = torch.arange(blocks).expand(len(window_G), -1)
        return AttentionGroup(
            window_G=window_G,
            query_block_GQ=first_G1 + torch.tensor(queries),
            key_block_GK=first_G1 + key_GK,
            bias_GS=self._bias(window_G, key_GK, torch.zeros(blocks)),
        )

    def middle_group(self) -> AttentionGroup | None:
        middle_W = torch.where(self.is_long_W, self.blocks_W - 2, 0)
        window_G = torch.repeat_interleave(middle_W)
        if not len(window_G):
            return None
        i_G = 1 + torch.arange(len(window_G)) - (middle_W.cumsum(0) - middle_W)[window_G]
        last_G = self.blocks_W[window_G] - 1
        key_GK = torch.stack([torch.zeros_like(i_G), i_G - 1, i_G, i_G + 1, last_G], dim=1)
        # A block that is listed twice counts once: the left neighbour may be the first block, the
        # right one the last.
        key_GK[i_G == 1, 1] = _UNUSED
        key_GK[i_G + 1 == last_G, 3] = _UNUSED
        bias_K = torch.tensor([math.log(1 + self.config.random_blocks), 0, 0, 0, 0])
        first_G1 = self.first_block_W[window_G, None]
        return AttentionGroup(
            window_G=window_G,
            query_block_GQ=first_G1 + i_G[:, None],
            key_block_GK=first_G1 + key_GK.clamp(min=0),
            bias_GS=self._bias(window_G, key_GK, bias_K),
        )

    def _bias(self, window_G: Tensor, key_GK: Tensor, bias_K: Tensor) -> Tensor:
        """What is added to the scores of blocks `key_GK`, counted within the window."""
        size = self.config.block_size
        position_GKb = key_GK[..., None] * size + torch.arange(size)
        seen_GKb = (position_GKb >= 0) & (position_GKb < self.length_W[window_G, None, None])
        return torch.where(seen_GKb, bias_K[:, None], -math.inf).flatten(1)


_UNUSED = -1  # a key block that is not seen


def _checked(lengths: npt.ArrayLike, max_positions: int) -> Tensor:
    array = np.asarray(lengths)
    if array.ndim != 1 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"lengths is {lengths!r}; expected one whole number for each window")
    if array.min() < 1 or array.max() > max_positions:
        raise ValueError(
            f"lengths go from {array.min()} to {array.max()} tokens; expected from 1 to the "
            f"encoder's {max_positions} positions"
        )
    return torch.from_numpy(array.astype(np.int64))
