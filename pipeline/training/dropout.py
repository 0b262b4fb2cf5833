"""nn.Dropout, faster on a CPU: there torch draws a number of 53 bits for each element, one by one, in one thread.

Here four elements share one draw of 64 bits, so that the share is one of 65,536ths.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

LEVELS = 2**16
LOWEST = -(2**63)  # of an int64


class Dropout(nn.Dropout):
    """Drops elements with the probability of nn.Dropout; torch's own code where that is fast.

    On a CPU it draws from `generator` where it has one: torch's is one for all threads, which would take turns by
    chance.
    """

    generator: torch.Generator | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """Zeros about the share `p` of the elements, and scales the others so that the mean stays."""
        if not self.training or not self.p or hidden.is_cuda:
            return super().forward(hidden)
        dropped = round(self.p * LEVELS)
        empty = torch.empty(-(-hidden.numel() // 4), dtype=torch.int64)
        draws = empty.random_(LOWEST, None, generator=self.generator)
        level = draws.view(torch.int16)[: hidden.numel()].view(hidden.shape)
        kept = (level >= dropped - LEVELS // 2).to(hidden.dtype)
        return hidden * kept.mul_(LEVELS / (LEVELS - dropped))


def replace_dropouts(module: nn.Module, p: float) -> None:
    """Replaces every dropout below `module` by a Dropout of this module, with the share `p`."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, Dropout(p))
        else:
            replace_dropouts(child, p)


def seed_dropouts(module: nn.Module, seed: Sequence[int]) -> None:
    """Makes the draws of every Dropout below `module` follow from `seed` alone, on any device, in any thread."""
    (state,) = np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)
    number = int(state) % 2**63
    generator = torch.Generator().manual_seed(number)
    for child in module.modules():
        if isinstance(child, Dropout):
            child.generator = generator
    if torch.cuda.is_available():
        torch.cuda.manual_seed(number)
