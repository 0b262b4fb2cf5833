"""The processes that train together, or the only one."""

from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Workers:
    """This process is number `rank` of `count`; with more than one, torch.distributed has been initialized."""

    rank: int = 0
    count: int = 1

    def sum(self, tensor: Tensor) -> Tensor:
        """Sums a tensor over all workers, in place; all must call it."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Waits until every worker is here."""
        if self.count > 1:
            torch.distributed.barrier()
