"""The memory that a work takes at most, and a device that has little of it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.inference.predictor import Lengths, Predictor, TokenIds

KIBIBYTE = 1024


def begin_peak(device: str) -> None:
    """Begins to count anew, where that can be."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb(device: str) -> float:
    """The most that torch had allocated of a GPU since `begin_peak`; of a CPU, that the process ever had."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE / 1e9


@contextmanager
def room_for(predictor: Predictor, room: int, tokens: int) -> Iterator[None]:
    """Leaves a GPU `room` bytes; a CPU runs out of memory, as a GPU says it, above `tokens` tokens in a pack."""
    if predictor.device.is_gpu:
        torch.cuda.empty_cache()
        limit = torch.cuda.memory_reserved() + room
        torch.cuda.set_per_process_memory_fraction(limit / predictor.device.memory())
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    start_whole = predictor._start_whole

    def start(token_ids: TokenIds, lengths: Lengths) -> object:
        if len(token_ids) > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return start_whole(token_ids, lengths)

    predictor._start_whole = start  # type: ignore[method-assign, assignment]
    yield
    predictor._start_whole = start_whole  # type: ignore[method-assign]
