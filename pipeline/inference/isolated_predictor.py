"""A predictor in an isolated process, for packs that may end it.

A pack that ends the process is halved until one window is left that does; the others have their logits.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.inference.predictor import Lengths, Logits, Predictor, TokenIds, halves
from pipeline.isolation import IsolatedProcess, ProcessDied, attempt, search_by_halving
from pipeline.terms import Dtype

Loaded = tuple[Path, str, Dtype, int]  # checkpoint, device, dtype, threads
PackArrays = tuple[TokenIds, Lengths]
Outcome = tuple[Logits, npt.NDArray[np.bool_]]  # [R, L], and which windows [W] ended the process


class IsolatedPredictor:
    """Computes packs as a Predictor does, but for windows that end the process: they have no logits."""

    def __init__(
        self,
        path: Path,
        *,
        device: str,
        dtype: Dtype,
        threads: int,
        outputs: int,
        per_token: bool = False,
    ) -> None:
        """`outputs`: L of the checkpoint's head. `per_token`: whether it has a row for each token, not window."""
        self._loaded: Loaded = (path, device, dtype, threads)
        self._outputs = outputs
        self._per_token = per_token
        self._process = IsolatedProcess(_load, self._loaded)

    def predict_all(self, packs: Iterable[PackArrays]) -> Iterator[Outcome]:
        """Yields each pack's logits, [R, L], and which of its windows [W] ended the process: theirs are NaN.

        Raises:
            RetryableError: the process dies before it has computed anything.
            Exception: what the predictor raised.
        """
        for pack in packs:
            try:
                yield attempt(self._compute, pack)
            except ProcessDied:
                logits, deadly = zip(*search_by_halving(pack, self._compute, _halve, self._give_up), strict=True)
                yield np.concatenate(logits), np.concatenate(deadly)

    def close(self) -> None:
        """Ends the process; the next pack starts another."""
        self._process.close()

    def _compute(self, pack: PackArrays) -> Outcome:
        (logits_RL,) = self._process.run(_compute, self._loaded, *pack)
        return logits_RL, np.zeros(len(pack[1]), bool)

    def _give_up(self, window: PackArrays) -> Outcome:
        rows = len(window[0]) if self._per_token else 1
        return np.full((rows, self._outputs), np.nan, np.float32), np.ones(1, bool)


def _halve(pack: PackArrays) -> Sequence[PackArrays]:
    return halves(*pack) if len(pack[1]) > 1 else ()


@cache
def _predictor(loaded: Loaded) -> Predictor:
    path, device, dtype, threads = loaded
    return Predictor.load(path, device=device, dtype=dtype, threads=threads)


def _load(loaded: Loaded) -> Iterator[None]:
    _predictor(loaded)
    yield


def _compute(loaded: Loaded, tokens: TokenIds, lengths: Lengths) -> Iterator[Logits]:
    yield _predictor(loaded).predict(tokens, lengths)
