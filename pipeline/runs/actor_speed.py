"""How fast one encoder actor is: measured for some seconds on packs of a sample, or by what earlier runs recorded."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.errors import CheckpointError
from pipeline.planning.sample_totals import Estimated
from pipeline.planning.scoring import Scoring
from pipeline.runs.progress import HOUR
from pipeline.runs.run_record import RunRecord, RunRecords
from pipeline.storage.objects import Storage
from pipeline.terms import DeviceKind
from pipeline.text.packing import split_packs

if TYPE_CHECKING:
    from pipeline.inference.predictor import Predictor

WARM_PACKS = 2  # of each thread, or of a GPU
MEASURED_SECONDS, FEWEST_PACKS = 8.0, 6
SPEED_ERROR = 0.05  # relative standard error of some seconds for hours
STORED_SECONDS = 5.0  # of computing, which a run has to have for its figures to count
RUNS_LOOKED_AT = 20

Timed = tuple[float, int]  # of a pack: when it was done, in seconds, and its tokens


@dataclass(frozen=True, slots=True)
class ActorSpeed:
    """What one actor computes.

    Attributes:
        tokens_per_second: of windows, while it has packs.
        start_seconds: from when it is asked for until its process has loaded the checkpoint.
        device: the hardware.
        run_id: whose record says so; None where it was measured.
    """

    tokens_per_second: Estimated
    start_seconds: float
    device: str
    run_id: str | None = None

    def beside_text(self, text_seconds: float, actors: int, cores: int) -> "ActorSpeed":
        """Gives what is left of it where a token also takes `text_seconds` of one of the `cores` of all actors."""
        speed = self.tokens_per_second
        left = 1 / (1 + speed.value * actors * text_seconds / cores)
        return ActorSpeed(speed.times(left), self.start_seconds, self.device, self.run_id)


@dataclass(frozen=True, slots=True)
class SpeedTrial:
    """What is measured: packs, as a row of PACKS, and what computes them as an actor would."""

    storage: Storage
    scoring: Scoring
    packs: pa.Table
    device: DeviceKind
    threads: int
    seconds: float = MEASURED_SECONDS

    def begin(self) -> tuple[str, Iterator[Timed]]:
        """Loads the checkpoint; gives the device, and what computes packs, over and over. Imports torch.

        Raises CheckpointError, AccessError, StorageError.
        """
        from pipeline.checkpoints.folder import CheckpointFolder
        from pipeline.inference.device import device_title
        from pipeline.inference.predictor import Predictor

        folder = CheckpointFolder.open(self.storage.fetch_folder(self.scoring.checkpoint_folder))
        if folder.weights_digest() != self.scoring.weights_digest:
            raise CheckpointError(f"{self.scoring.checkpoint_uri}: replaced while it was measured; run again")
        predictor = Predictor.load(folder.path, device=self.device, dtype=self.scoring.dtype, threads=self.threads)
        return device_title(self.device), self._timed(predictor)

    def _timed(self, predictor: "Predictor") -> Iterator[Timed]:
        packs = list(split_packs(self.packs))
        order = np.random.default_rng(0).permutation(len(packs)).tolist()  # they are sorted by length
        lengths, again = cycle([len(packs[number][0]) for number in order]), (packs[number] for number in cycle(order))
        warm, started, measured = WARM_PACKS * self.threads, time.perf_counter(), 0
        for number, _ in enumerate(predictor.predict_all(again)):
            now, tokens = time.perf_counter(), next(lengths)
            if number + 1 == warm:
                started = now
            elif number >= warm:
                measured += 1
                yield now - started, tokens
                if now - started > self.seconds and measured >= FEWEST_PACKS:
                    return


def speed_of(device: str, start_seconds: float, timed: Iterable[Timed]) -> ActorSpeed:
    """Makes a speed of packs that were computed one after the other; there are FEWEST_PACKS or more."""
    at, tokens = (np.array(column) for column in zip(*timed, strict=True))
    groups = np.array_split(np.arange(len(at)), min(8, len(at) // 2))  # packs that threads end together are no news
    ends = np.array([at[group[-1]] for group in groups])
    speeds = np.array([tokens[group].sum() for group in groups]) / np.diff(ends, prepend=0.0)
    speed = float(tokens.sum() / at[-1])
    error = float(speeds.std(ddof=1) / np.sqrt(len(speeds)) / speed)
    return ActorSpeed(
        Estimated.around(speed, float(np.hypot(error, SPEED_ERROR)), len(speeds) - 1), start_seconds, device
    )


def stored_speed(
    records: RunRecords, scoring_key: str, cpus: int, gpus: float, device: str | None = None
) -> ActorSpeed | None:
    """Finds the newest run that tells how fast actors of so many CPUs and GPUs are under a scoring key.

    `device`: the only hardware that counts, if it is known. Raises StorageError, AccessError.
    """
    for run_id in records.newest_ids(RUNS_LOOKED_AT):
        record = records.read(run_id)
        if record and (record.scoring_key, record.actor_cpus, record.actor_gpus) == (scoring_key, cpus, gpus):
            speed = _speed_of_run(record)
            if speed and device in (None, speed.device):
                return speed
    return None


def _speed_of_run(record: RunRecord) -> ActorSpeed | None:
    stages, progress = record.stage_seconds or {}, record.progress or {}
    computing = stages.get("encode", 0.0)
    if len(record.devices or {}) != 1 or computing < STORED_SECONDS or not progress.get("tokens"):
        return None
    (device,) = record.devices or {}
    seconds = computing + stages.get("wait", 0.0)
    rest = (record.actor_hours or 0.0) * HOUR - seconds  # starting, and at the end without work
    speed = Estimated.around(progress["tokens"] / seconds, SPEED_ERROR, np.inf)
    return ActorSpeed(speed, max(0.0, rest) / max(1, progress.get("actors", 1)), device, record.run_id)
