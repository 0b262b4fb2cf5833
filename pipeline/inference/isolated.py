"""A predictor in a process of its own, for packs that may end it.

A pack that ends the process is halved until one window is left that does; the others have their logits. A pack, and that
window, must do so twice, since a process may also be ended from outside.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.inference.predictor import Lengths, Logits, Predictor, TokenIds, halves
from pipeline.isolation import DEATHS, Apart, ProcessEnded
from pipeline.terms import Dtype

Loaded = tuple[Path, str, Dtype, int]  # checkpoint, device, dtype, threads


class IsolatedPredictor:
    """The same logits as a Predictor's for packs that do no harm; a window that ends the process has none."""

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
        """`outputs`: L of the checkpoint's head. `per_token`: whether it has a row for each token, not for each window."""
        self._loaded: Loaded = (path, device, dtype, threads)
        self._outputs = outputs
        self._per_token = per_token
        self._apart = Apart(_load, self._loaded)

    def predict_all(self, packs: Iterable[tuple[TokenIds, Lengths]]) -> Iterator[tuple[Logits, npt.NDArray[np.bool_]]]:
        """For each pack its logits, [R, L], and which of its windows [W] ended the process: theirs are NaN.

        Raises:
            RetryableError: the process ends before it has computed anything.
            Exception: what the predictor raised.
        """
        for tokens, lengths in packs:
            yield self._predict(tokens, lengths, DEATHS)

    def close(self) -> None:
        """Ends the process; the next pack starts another."""
        self._apart.close()

    def _predict(self, tokens: TokenIds, lengths: Lengths, deaths: int) -> tuple[Logits, npt.NDArray[np.bool_]]:
        for _ in range(DEATHS if len(lengths) == 1 else deaths):
            try:
                (logits_RL,) = self._apart.run(_compute, self._loaded, tokens, lengths)
            except ProcessEnded:
                continue
            return logits_RL, np.zeros(len(lengths), bool)
        if len(lengths) == 1:
            rows = len(tokens) if self._per_token else 1
            return np.full((rows, self._outputs), np.nan, np.float32), np.ones(1, bool)
        found = [self._predict(*half, deaths=1) for half in halves(tokens, lengths)]
        return np.concatenate([logits for logits, _ in found]), np.concatenate([w for _, w in found])


@cache
def _predictor(loaded: Loaded) -> Predictor:
    path, device, dtype, threads = loaded
    return Predictor.load(path, device=device, dtype=dtype, threads=threads)


def _load(loaded: Loaded) -> Iterator[None]:
    _predictor(loaded)
    yield


def _compute(loaded: Loaded, tokens: TokenIds, lengths: Lengths) -> Iterator[Logits]:
    yield _predictor(loaded).predict(tokens, lengths)
