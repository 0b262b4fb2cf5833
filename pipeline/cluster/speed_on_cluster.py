"""How fast one encoder actor is, and how soon: measured on the job's Ray, as a run would have it."""

import time
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import ray

from pipeline.cluster.graph import configure_ray_data, encoded
from pipeline.cluster.needs import encoders, find_room
from pipeline.cluster.ray_errors import ray_errors_explained
from pipeline.config.label import Job
from pipeline.runs.actor_speed import ActorSpeed, SpeedTrial, speed_of


def speed_on_cluster(job: Job, trial: SpeedTrial, tell: Callable[[str], None]) -> ActorSpeed:
    """Measures where an actor of the job would run, from when a graph of one actor is built. Needs `ray_cluster`.

    `tell` gets what is waited for. Raises ConfigError where the cluster can't have even one, RetryableError where there
    is no room for it.
    """
    find_room(replace(encoders(job.compute), processes=1, tasks=0), job.ray, job.compute.wait, tell)
    one = job.compute.model_copy(update={"actors": 1, "max_actors": None})
    started = time.perf_counter()
    configure_ray_data()
    with ray_errors_explained():
        (row,) = encoded(ray.data.range(1), one, TrialStage, trial).take_all()
    seconds = time.perf_counter() - started - row["computing"]
    return speed_of(row["device"], seconds, zip(row["at"], row["tokens"], strict=True))


class TrialStage:
    """Takes the place of `EncodeStage`: loads the checkpoint when it is made, and computes when it is called."""

    def __init__(self, trial: SpeedTrial) -> None:
        self._device, self._timed = trial.begin()

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Turns the one row into one of what was measured."""
        del rows
        started = time.perf_counter()
        at, tokens = zip(*self._timed, strict=True)
        measured = {"device": self._device, "computing": time.perf_counter() - started}
        return pa.Table.from_pylist([measured | {"at": list(at), "tokens": list(tokens)}])
