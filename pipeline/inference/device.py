"""Packs to a device and logits back. On a GPU nothing here waits for it but `Running.logits`.

Letters of shapes: pipeline/bigbird/__init__.py.
"""

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.bigbird.layout import Layout
from pipeline.cores import processor_name


@dataclass(frozen=True, slots=True)
class Running:
    """A pack that is being computed. It holds the inputs: freed sooner, another stream could get their memory."""

    inputs: tuple[Tensor, Layout]
    logits_RL: Tensor
    ended: torch.cuda.Event | None  # on a GPU: the logits are copied

    def logits(self) -> npt.NDArray[np.float32]:
        """Waits for the pack; gives its logits [R, L] in this machine's memory."""
        if self.ended is not None:
            self.ended.synchronize()
        logits_RL: npt.NDArray[np.float32] = self.logits_RL.numpy()
        return logits_RL


def device_title(name: str) -> str:
    """Says what hardware torch's name stands for on this machine: `NVIDIA H100 80GB HBM3`, `AMD EPYC 9B14`."""
    if name.startswith("cuda"):
        return torch.cuda.get_device_properties(name).name
    return processor_name()


class Device:
    """What packs are computed on, by torch's name: `cpu`, `cuda`, `cuda:1`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_gpu = name.startswith("cuda")
        self._copies = torch.cuda.Stream(name) if self.is_gpu else None  # type: ignore[no-untyped-call]

    def memory(self) -> int:
        """Counts the bytes that this device has in all."""
        if self.is_gpu:
            return torch.cuda.get_device_properties(self.name).total_memory
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    def free_cached_memory(self) -> None:
        """Gives the memory back that torch keeps for the next tensors of a GPU."""
        if self.is_gpu:
            torch.cuda.empty_cache()

    def put(self, token_id_T: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Copies a pack to the device: to a GPU from pinned memory and beside the computation of the pack before."""
        if self._copies is None:
            return token_id_T, layout
        with torch.cuda.stream(self._copies):
            moved = token_id_T.pin_memory().to(self.name, non_blocking=True), layout.to(self.name)
        torch.cuda.current_stream(self.name).wait_stream(self._copies)
        return moved

    def get(self, logits_RL: Tensor, inputs: tuple[Tensor, Layout]) -> Running:
        """Begins to copy a pack's logits back; `inputs` are what they are computed of."""
        if not self.is_gpu:
            return Running(inputs, logits_RL, None)
        copy_RL = torch.empty(logits_RL.shape, dtype=logits_RL.dtype, pin_memory=True)
        copy_RL.copy_(logits_RL, non_blocking=True)
        ended = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ended.record(torch.cuda.current_stream(self.name))
        return Running(inputs, copy_RL, ended)
