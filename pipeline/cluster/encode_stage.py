"""GPU actor: PACKS -> LOGITS, by each of the run's checkpoints."""

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.cluster.draining import leave_draining_node
from pipeline.errors import CheckpointError
from pipeline.inference.device import device_title
from pipeline.inference.isolated_predictor import IsolatedPredictor
from pipeline.inference.predictor import Predictor
from pipeline.planning.shared_reading import TableWork
from pipeline.schema import ADDRESSED, LOGITS, MEASURES, TABLE, only_list, packs_of_finished_unit
from pipeline.text.packing import split_packs

_PROCESS_DIED = {
    "stage": "predict",
    "reason": "process_died",
    "message": (
        "the process that computed it ended, twice and with this document alone; look for it in the system's log"
    ),
}


class EncodeStage:
    """The run's classifiers on one device; an actor, so that each is loaded once.

    One actor computes a unit's packs by every checkpoint in turn, instead of a pool for each: the packs lie in one
    process, no pool waits for a slower one, and what serves one checkpoint serves several, if its memory holds them.

    A unit that was begun before and is not done may be what ended that attempt: it is computed in isolated processes.
    """

    def __init__(self, tables: tuple[TableWork, ...], device: str, threads: int) -> None:
        self._tables = tables
        self._encoders = [TableEncoder(table, device, threads) for table in tables]
        self._place = {"actor": f"{socket.gethostname()}:{os.getpid()}", "device": device_title(device)}
        self._idle_since = time.perf_counter()

    def __call__(self, packs: pa.Table) -> Iterator[pa.Table]:
        """Turns a unit's row of PACKS into a row of LOGITS for each table that it is for; no logits where it is done.

        There are as many rows as tables, done or not: Ray counts a repeated task's blocks.
        """
        leave_draining_node()
        tables, units, measures = (packs[field.name][0].as_py() for field in (*ADDRESSED, MEASURES))
        packs = packs.drop_columns([field.name for field in (*ADDRESSED, MEASURES)])
        stopped = self._tables[0].is_stopped()
        own = [(table, _with_unit(packs, None if stopped else unit)) for table, unit in zip(tables, units, strict=True)]
        with contextlib.ExitStack() as stack:
            # one process computes for all of them: where an attempt was ended, nobody knows yet by which
            before = [stack.enter_context(self._encoders[table].attempt(packs)) for table, packs in own]
            for table, packs in own:
                encoder, started = self._encoders[table], time.perf_counter()
                logits = encoder.logits(packs, isolated=any(before))
                if packs["documents"][0].is_valid:
                    measures |= self._place | {"padding": encoder.padding(packs), "wait_s": started - self._idle_since}
                    self._idle_since = time.perf_counter()
                    measures["encode_s"] = self._idle_since - started
                logits = logits.append_column(TABLE, pa.array([table], TABLE.type))
                yield logits.append_column(MEASURES, pa.array([measures], MEASURES.type))
                measures |= {"read_s": 0.0, "text_s": 0.0}  # which serve every table, and are one's


class TableEncoder:
    """One table's classifier."""

    def __init__(self, table: TableWork, device: str, threads: int) -> None:
        scoring, storage = table.scoring, table.fragments.storage
        folder = CheckpointFolder.open(storage.fetch_folder(scoring.checkpoint_folder))
        if folder.weights_digest() != scoring.weights_digest:
            raise CheckpointError(f"{scoring.checkpoint_uri}: replaced after this run was planned")
        self._attempts, self._block_size = table.attempts("predict"), scoring.block_size
        self._predictor = Predictor.load(folder.path, device=device, dtype=scoring.dtype, threads=threads)
        self._isolated = IsolatedPredictor(
            folder.path,
            device=device,
            dtype=scoring.dtype,
            threads=threads,
            outputs=folder.head.outputs(folder.encoder),
            per_token=folder.head.pooling == "tokens",
        )

    def attempt(self, packs: pa.Table) -> contextlib.AbstractContextManager[bool]:
        """Marks a unit that is not done for as long as it is computed; gives whether an earlier attempt was ended."""
        if not packs["documents"][0].is_valid:
            return contextlib.nullcontext(False)
        return self._attempts.attempt(packs["unit"][0].as_py(), _described(packs))

    def padding(self, packs: pa.Table) -> int:
        """Counts the tokens that are computed beside the windows' own: each is rounded up to whole blocks."""
        return int((-only_list(packs, "window_tokens") % self._block_size).sum())

    def logits(self, packs: pa.Table, *, isolated: bool) -> pa.Table:
        """Turns one unit's PACKS row into its LOGITS row; a unit that is done already passes without logits.

        In an isolated process documents that end it become errors.
        """
        if not packs["documents"][0].is_valid:
            return with_logits(packs, [])
        if not isolated:
            return with_logits(packs, self._predictor.predict_all(split_packs(packs)))
        computed = list(self._isolated.predict_all(split_packs(packs)))
        killed_W = np.concatenate([np.empty(0, bool), *(killed for _, killed in computed)])
        killed = only_list(packs, "window_documents")[killed_W].tolist()
        return with_logits(_failed(packs, set(killed)), [logits_RL for logits_RL, _ in computed])


def _with_unit(packs: pa.Table, unit: str | None) -> pa.Table:
    """One table's PACKS of those that it shares; without documents where it has the unit by now."""
    if unit is None:
        return packs_of_finished_unit(packs["unit"][0].as_py())
    at = packs.schema.get_field_index("unit")
    return packs.set_column(at, packs.schema.field(at), pa.array([unit]))


def _described(packs: pa.Table) -> str:
    tokens, documents = only_list(packs, "window_tokens"), only_list(packs, "window_documents")
    longest = int(np.bincount(documents, tokens).max(initial=0))
    return f"{int(tokens.sum()):,} tokens, the longest document has {longest:,}"


def with_logits(packs: pa.Table, logits: Iterable[npt.NDArray[np.float32]]) -> pa.Table:
    """Makes LOGITS of one unit's PACKS and the logits [R, L] of each pack, of its windows or of all their tokens."""
    field = LOGITS.field("logits")
    flat = np.concatenate([np.empty(0, np.float32), *(logits_RL.ravel() for logits_RL in logits)])
    return packs.drop_columns(["tokens", "pack_windows"]).append_column(field, pa.array([flat], field.type))


def _failed(packs: pa.Table, indices: set[int]) -> pa.Table:
    if not indices:
        return packs
    at = packs.schema.get_field_index("documents")
    (records,) = packs["documents"].to_pylist()
    marked = [record | _PROCESS_DIED if i in indices else record for i, record in enumerate(records)]
    return packs.set_column(at, packs.schema.field(at), pa.array([marked], packs.schema.field(at).type))
