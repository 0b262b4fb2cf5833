"""How much is computed at once: on a CPU so little that what lies between two operations stays in its cache.

On a GPU many rows keep all its cores busy. With gradients, each part would have a gradient as large as the whole.
"""

import torch
from torch import Tensor


def at_once(x: Tensor, *, cpu: int, otherwise: int) -> int:
    """Chooses `cpu` for what is computed on a CPU without gradients, else `otherwise`."""
    return cpu if x.device.type == "cpu" and not torch.is_grad_enabled() else otherwise
