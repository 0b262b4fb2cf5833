"""What a run needs to go on after it was killed: one file, replaced in one go.

There is no random state in it: what is random in a step follows from the seed, the epoch, the step and the worker.
"""

from pathlib import Path
from typing import Any

import torch

from pipeline.atomic import written_beside


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a state of tensors, numbers and strings, complete or not at all."""
    with written_beside(path) as partial, partial.open("wb") as file:
        torch.save(state, file)


def read_state(path: Path) -> dict[str, Any] | None:
    """Reads a state into the CPU's memory; None if there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
