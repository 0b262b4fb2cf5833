"""GPU actor: PACKS -> LOGITS."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.bigbird.folder import CheckpointFolder
from pipeline.dataflow.plan import Scoring
from pipeline.errors import CheckpointError
from pipeline.inference.predictor import Predictor
from pipeline.schema import LOGITS, only_list
from pipeline.storage import Storage


class Encoder:
    """One classifier on one device; an actor, so that it loads once."""

    def __init__(self, storage: Storage, scoring: Scoring, device: str, threads: int) -> None:
        folder = CheckpointFolder.open(storage.fetch_folder(scoring.checkpoint_uri))
        if folder.weights_digest() != scoring.weights_digest:
            raise CheckpointError(f"{scoring.checkpoint_uri}: replaced after this run was planned")
        # Ray constructs an actor in one thread and calls it in another. OpenMP keeps a team of threads for each thread
        # that computes, and lets them sleep instead of spin once there are more than cores: 18 % slower on 2 cores.
        self._one_thread = ThreadPoolExecutor(1)
        self._predictor = self._one_thread.submit(
            Predictor.load, folder.path, device=device, dtype=scoring.dtype, threads=threads
        ).result()

    def __call__(self, packs: pa.Table) -> pa.Table:
        logits = self._one_thread.submit(self._logits, packs).result()
        kept = packs.select([name for name in LOGITS.names if name != "logits"])
        field = LOGITS.field("logits")
        return kept.append_column(field, pa.array([logits], field.type))

    def _logits(self, packs: pa.Table) -> npt.NDArray[np.float32]:
        """Logits of all windows, flat; one forward pass per pack."""
        logits = self._predictor.predict_all(split_packs(packs))
        return np.concatenate(
            [np.empty(0, np.float32), *(logits_WL.ravel() for logits_WL in logits)]
        )


def split_packs(packs: pa.Table) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int32]]]:
    """A unit's packs one by one: token ids and window lengths."""
    tokens, lengths = only_list(packs, "tokens"), only_list(packs, "window_tokens")
    for n_windows in only_list(packs, "pack_windows").tolist():
        n_tokens = int(lengths[:n_windows].sum())
        yield tokens[:n_tokens], lengths[:n_windows]
        tokens, lengths = tokens[n_tokens:], lengths[n_windows:]
