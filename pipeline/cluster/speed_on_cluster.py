"""How fast one encoder actor is on a cluster: measured there, for some seconds."""

import time
from collections.abc import Callable
from dataclasses import replace

import ray

from pipeline.cluster.connection import actor_threads
from pipeline.cluster.needs import encoders, find_room
from pipeline.cluster.ray_errors import ray_errors_explained
from pipeline.config.label import Job
from pipeline.runs.actor_speed import ActorSpeed, SpeedTrial, Timed, speed_of


def speed_on_cluster(job: Job, trial: SpeedTrial, tell: Callable[[str], None]) -> ActorSpeed:
    """Measures where an actor of the job would run. Needs `ray_cluster`; `tell` gets what is waited for.

    Raises ConfigError where the cluster can't have even one, RetryableError where there is no room for it.
    """
    find_room(replace(encoders(job.compute), processes=1, tasks=0), job.ray, job.compute.wait, tell)
    actor = ray.remote(num_cpus=actor_threads(job.compute), num_gpus=job.compute.num_gpus, max_retries=0)(_timed)
    with ray_errors_explained():
        return speed_of(*ray.get(actor.remote(trial)))


def _timed(trial: SpeedTrial) -> tuple[str, float, list[Timed]]:
    started, results = time.perf_counter(), trial()
    device = str(next(results))
    return device, time.perf_counter() - started, [one for one in results if not isinstance(one, str)]
