"""Who computes the logits: Rookery, and transformers as well as it can be driven.

Shapes: B documents of a batch, S tokens after padding, W windows, L outputs.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from jobs.measure.benchmark.timing import seconds
from jobs.measure.benchmark.token_windows import BLOCK_SIZE, TokenWindow, in_order, packs, tokens
from pipeline.errors import ConfigError
from pipeline.inference.budget import default_budget
from pipeline.inference.memory import give_freed_memory_back, keep_freed_memory
from pipeline.inference.predictor import Predictor
from pipeline.terms import DeviceKind, Dtype

_Logits = npt.NDArray[np.float32]
LARGEST_BATCH = 256


class Contender(Protocol):
    """What computes the logits of windows, and is timed."""

    repeats: int  # how many times one call computes them

    def __call__(self, windows: Sequence[TokenWindow]) -> _Logits:
        """Computes logits_WL, in the order of the windows."""

    def padding(self, windows: Sequence[TokenWindow]) -> float:
        """Gives the share of what is computed that is padding, from 0 to 1."""


class Rookery:
    """The predictor as labelling uses it, in packs of the device's default budget.

    On a CPU each thread has a pack of its own, and a corpus keeps all of them busy; windows that fill one pack would
    leave the others idle. So the windows are computed once for each thread, as if the corpus went on: `repeats` times.
    """

    def __init__(self, checkpoint: Path, device: DeviceKind, dtype: Dtype) -> None:
        self.predictor = Predictor.load(checkpoint, device=device, dtype=dtype, threads=None)
        self.budget = default_budget(device)
        self.repeats = torch.get_num_threads() if device == "cpu" else 1  # as many as compute

    def __call__(self, windows: Sequence[TokenWindow]) -> _Logits:
        keep_freed_memory()
        order, in_packs = packs(windows, self.budget)
        logits = list(self.predictor.predict_all(in_packs * self.repeats))
        return in_order(np.concatenate(logits[: len(in_packs)]), order)

    def padding(self, windows: Sequence[TokenWindow]) -> float:
        """Counts that each window is rounded up to whole blocks."""
        return 1 - tokens(windows) / sum(_whole_blocks(len(window)) for window in windows)


class Transformers:
    """Length-sorted batches of `batch` documents; a batch of 1 is a document alone.

    It runs with malloc's own limits, as in a process of its own, or with ours, which nearly double its speed on a CPU.
    Its threads share each batch, so one pass keeps all of them busy.
    """

    repeats = 1
    attention_type = "block_sparse"

    def __init__(self, model: Any, device: DeviceKind, batch: int, *, our_malloc: bool = False) -> None:
        self.model, self.device, self.batch = model, device, batch
        self.our_malloc = our_malloc

    @torch.inference_mode()
    def __call__(self, windows: Sequence[TokenWindow]) -> _Logits:
        keep_freed_memory() if self.our_malloc else give_freed_memory_back()
        batches = self._batches(windows)
        logits = [self._logits([windows[i] for i in batch]) for batch in batches]
        order = [i for batch in batches for i in batch]
        return in_order(torch.cat(logits).float().cpu().numpy(), order)

    def padding(self, windows: Sequence[TokenWindow]) -> float:
        """Counts that transformers itself rounds a sparse batch up to whole blocks."""
        padded = [len(batch) * _whole_blocks(len(windows[batch[-1]])) for batch in self._batches(windows)]
        return 1 - tokens(windows) / sum(padded)

    def _batches(self, windows: Sequence[TokenWindow]) -> list[list[int]]:
        """Indices of the windows of each batch, the longest window last."""
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        return [order[i : i + self.batch] for i in range(0, len(order), self.batch)]

    def _logits(self, group: list[TokenWindow]) -> torch.Tensor:
        token_id_BS = np.zeros((len(group), len(group[-1])), np.int64)
        is_real_BS = np.zeros_like(token_id_BS)
        for row, window in enumerate(group):
            token_id_BS[row, : len(window)] = window
            is_real_BS[row, : len(window)] = 1
        # A short batch switches the model to full attention for good, which makes all later ones slower, and wrong.
        self.model.bert.set_attention_type(self.attention_type)
        logits_BL: torch.Tensor = self.model(
            torch.from_numpy(token_id_BS).to(self.device),
            torch.from_numpy(is_real_BS).to(self.device),
        ).logits
        return logits_BL


def best_batch(
    contender_of: Callable[[int], Contender], windows: Sequence[TokenWindow], device: str, *, first: int = 2
) -> int | None:
    """Doubles the batch, from `first` on, while that is faster and fits; None if there is nothing to batch."""
    best, best_seconds = None, float("inf")
    batch = first
    while batch <= min(LARGEST_BATCH, len(windows)):
        try:
            batch_seconds = seconds(partial(contender_of(batch), windows), device)
        except torch.OutOfMemoryError:
            break
        say(f"batches of {batch} take {batch_seconds:.1f} s")
        if batch_seconds > best_seconds:
            break
        best, best_seconds = batch, batch_seconds
        batch *= 2
    return best


def say(line: str) -> None:
    """Tells whoever waits how far the measuring is."""
    print(line, file=sys.stderr, flush=True)


def _whole_blocks(length: int) -> int:
    return -(-length // BLOCK_SIZE) * BLOCK_SIZE


def random_model(**changes: int) -> Any:
    """Makes BigBird-base, as transformers does, with random weights; `changes` go over its config.

    Raises ConfigError where it is not installed.
    """
    try:
        from transformers import BigBirdConfig, BigBirdForSequenceClassification
        from transformers.utils import logging
    except ImportError as error:
        raise ConfigError(
            f"rookery benchmark compares with transformers: {error}; pip install 'rookery[benchmark]'"
        ) from error

    logging.set_verbosity_error()  # it reports each batch that it computes with full attention
    logging.disable_progress_bar()
    torch.manual_seed(0)
    return BigBirdForSequenceClassification(BigBirdConfig(num_labels=5, **changes)).eval()
