"""An encoder that sleeps. Torch is not imported here: dozens of its actors fit into one machine's memory."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.planning.shared_reading import TableWork
from pipeline.schema import ADDRESSED, LOGITS, MEASURES, TABLE, only_list
from pipeline.tasks.classification import Classification


class SleepingStage:
    """Takes the place of `EncodeStage` in a run of one table, with a unit's zeros after `seconds`.

    The first unit begins when all `actors` are there, each with a file in `meeting`: a real cluster's nodes start
    theirs beside each other, and one machine doesn't.
    """

    seconds: float
    actors: int
    meeting: Path

    def __init__(self, tables: tuple[TableWork, ...], device: str, threads: int) -> None:
        task = tables[0].task
        assert isinstance(task, Classification)
        self._labels = len(task.labels)
        self._actor = str(os.getpid())
        (self.meeting / self._actor).touch()

    def __call__(self, packs: pa.Table) -> Iterator[pa.Table]:
        """Turns a unit's row of PACKS into its row of LOGITS."""
        while len(list(self.meeting.iterdir())) < self.actors:
            time.sleep(0.1)
        started = time.perf_counter()
        time.sleep(self.seconds)
        logits = np.zeros(len(only_list(packs, "window_tokens")) * self._labels, np.float32)
        row = packs.drop_columns([*(field.name for field in (*ADDRESSED, MEASURES)), "tokens", "pack_windows"])
        row = row.append_column(LOGITS.field("logits"), pa.array([logits], LOGITS.field("logits").type))
        measures = packs[MEASURES.name][0].as_py() | {
            "encode_s": time.perf_counter() - started,
            "wait_s": 0.0,
            "padding": 0,
            "actor": self._actor,
            "device": "none",
        }
        row = row.append_column(TABLE, pa.array([0], TABLE.type))
        yield row.append_column(MEASURES, pa.array([measures], MEASURES.type))


def sleeping(seconds: float, actors: int, meeting: Path) -> type[SleepingStage]:
    """Makes the class of such encoders: Ray calls its constructor with what `EncodeStage` gets."""
    values = {"seconds": seconds, "actors": actors, "meeting": meeting}
    return type(SleepingStage.__name__, (SleepingStage,), values)
