"""Loads a checkpoint once, then turns packs into logits.

On a CPU each of several threads computes a whole pack alone. Threads that share one pack wait for each other at every
operation, and spin while they wait: beside any other load each waits for the one that was put off. Measured on 2 cores
by `python -m jobs.measure.load`, 2 layers of 128, bf16: 519,000 tokens/s with a pack each and 480,000 with one shared;
beside one busy process 331,000 and 134,000, beside three 220,000 and 52,000. One pack is computed by one thread
whatever their number, so its bytes repeat.

Letters of shapes: pipeline/bigbird/__init__.py.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.operators import fastest_operators
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier
from pipeline.errors import ConfigError
from pipeline.inference.budget import largest_pack
from pipeline.inference.device import Device, Running
from pipeline.inference.dtype import BF16_FLAGS, cpu_has
from pipeline.inference.memory import keep_freed_memory
from pipeline.terms import Dtype

_log = logging.getLogger(__name__)

TokenIds = npt.NDArray[np.integer]
Lengths = npt.NDArray[np.integer]
Logits = npt.NDArray[np.float32]

PACKS_AHEAD = 2  # that a GPU has beside the one whose logits are waited for


class Predictor:
    """A classifier on a device, which computes the logits of packs."""

    def __init__(self, classifier: Classifier, device: str, *, threads: int = 1, int8: bool = False) -> None:
        """Takes `classifier` over, for inference only; `threads` compute on a CPU, each a pack of its own."""
        self.classifier = classifier.to(device).eval()
        weight = classifier.encoder.embeddings.word.weight
        dtype = _torch_dtype("int8") if int8 else weight.dtype
        operators = fastest_operators(classifier.encoder_config, device, dtype, int8=int8)
        self.classifier.use(operators)
        self.device = Device(device)
        self._threads: ThreadPoolExecutor | None = None
        memory = self.device.memory()
        if not self.device.is_gpu:
            self._threads = ThreadPoolExecutor(threads, "predictor", torch.set_num_threads, (1,))
            memory //= threads
        self._ahead = PACKS_AHEAD if self.device.is_gpu else threads
        self.token_budget = largest_pack(memory, classifier.encoder_config, weight.element_size())

    @classmethod
    def load(cls, path: Path, *, device: str, dtype: Dtype, threads: int | None) -> Self:
        """Reads the checkpoint folder; `threads` compute on a CPU, by default as many as torch would take.

        Raises:
            CheckpointError: the folder is not a complete and consistent checkpoint.
        """
        threads = threads or torch.get_num_threads()
        if device == "cpu":
            keep_freed_memory()
        folder = CheckpointFolder.open(path)
        int8 = dtype == "int8"
        # Weights are rounded to 8 bits from 32, not from 16.
        classifier = load_classifier(folder, _torch_dtype("fp32" if int8 else dtype))
        predictor = cls(classifier, device, threads=threads, int8=int8)
        predictor.classifier.encoder.to(_torch_dtype(dtype))
        return predictor

    def predict(self, tokens: TokenIds, lengths: Lengths) -> Logits:
        """Computes the logits of one pack, [R, L]: `tokens` [N] of W windows end to end, `lengths` [W].

        Raises ValueError where the two do not fit together, or do not fit the encoder.
        """
        return next(self.predict_all([(tokens, lengths)]))

    def predict_all(self, packs: Iterable[tuple[TokenIds, Lengths]]) -> Iterator[Logits]:
        """Yields each pack's `Classifier.forward`, [R, L], in order; not finite where the computation was not.

        `tokens` [N] are the ids of W windows end to end, `lengths` [W] how many each has. A pack that is too large for
        the device's memory is halved until it fits. The next packs are under way while one is waited for.

        Raises:
            ValueError: the two do not fit together, or do not fit the encoder.
        """
        in_flight: deque[Future[list[Running]]] = deque()
        try:
            for pack in packs:
                in_flight.append(self._submit(*pack))
                if len(in_flight) > self._ahead:
                    yield _logits(in_flight.popleft().result())
            while in_flight:
                yield _logits(in_flight.popleft().result())
        finally:  # nobody waits for those that were not asked for
            for future in in_flight:
                future.cancel()

    def _submit(self, tokens: TokenIds, lengths: Lengths) -> Future[list[Running]]:
        if self._threads is not None:
            return self._threads.submit(self._start, tokens, lengths)
        started: Future[list[Running]] = Future()  # a GPU computes beside this thread by itself
        started.set_result(self._start(tokens, lengths))
        return started

    @torch.inference_mode()
    def _start(self, tokens: TokenIds, lengths: Lengths) -> list[Running]:
        """Starts a pack, in halves if it is larger than the device can hold."""
        if len(tokens) > self.token_budget and len(lengths) > 1:
            return [run for half in halves(tokens, lengths) for run in self._start(*half)]
        try:
            return [self._start_whole(tokens, lengths)]
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if len(lengths) == 1:
                raise ConfigError(
                    f"a window of {len(tokens)} tokens does not fit the memory of "
                    f"{self.device.name}; set text.max_tokens lower"
                ) from error
        self.token_budget = len(tokens) // 2
        _log.warning(
            "%s ran out of memory on a pack of %d tokens: going on with packs of at most %d",
            self.device.name,
            len(tokens),
            self.token_budget,
        )
        self.device.free_cached_memory()
        return self._start(tokens, lengths)

    def _start_whole(self, tokens: TokenIds, lengths: Lengths) -> Running:
        config = self.classifier.encoder_config
        layout = Layout.of(lengths, config)
        _check_tokens(tokens, len(layout.row_N), config.vocab_size)
        inputs = self.device.put(layout.spread(torch.from_numpy(tokens.astype(np.int64))), layout)
        return self.device.get(self.classifier(*inputs), inputs)


def _is_out_of_memory(error: RuntimeError) -> bool:
    # Without an accelerator torch has no class of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _logits(halves: list[Running]) -> Logits:
    return np.concatenate([half.logits() for half in halves])


def halves(tokens: TokenIds, lengths: Lengths) -> tuple[tuple[TokenIds, Lengths], ...]:
    """Cuts a pack of several windows between two of them, where about half of the tokens are on each side."""
    ends = np.cumsum(lengths)
    first = int(np.clip(np.searchsorted(ends, len(tokens) / 2, side="right"), 1, len(lengths) - 1))
    half = int(ends[first - 1])
    return (tokens[:half], lengths[:first]), (tokens[half:], lengths[first:])


def _check_tokens(tokens: TokenIds, count: int, vocab_size: int) -> None:
    if tokens.shape != (count,):
        raise ValueError(f"tokens has shape {tokens.shape}; expected ({count},), as lengths say")
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        raise ValueError(
            f"tokens go from {tokens.min()} to {tokens.max()}; expected ids from 0 to "
            f"{vocab_size - 1}, the encoder's vocabulary"
        )


def _torch_dtype(dtype: Dtype) -> torch.dtype:
    """What the encoder computes in, beside its products in 8 bits."""
    if dtype == "int8":
        return torch.bfloat16 if cpu_has(BF16_FLAGS) else torch.float32
    return torch.bfloat16 if dtype == "bf16" else torch.float32
