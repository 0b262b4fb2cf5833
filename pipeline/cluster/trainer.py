"""Training on Ray Train: the same loop in every worker, which find each other through a file.

Ray's own backend for torch would have rank 0 listen on every interface (torch's TCPStore knows no other way); with a
file in the work folder, which all workers see anyway, nobody listens but gloo or NCCL, and a Ray of our own keeps those
on loopback.
"""

import contextlib
import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from pipeline.cluster.connection import worker_threads
from pipeline.cluster.needs import Need, find_room
from pipeline.cluster.ray_errors import last_line, own_error
from pipeline.config.train import TrainJob
from pipeline.errors import ConflictError, RetryableError
from pipeline.inference.budget import default_budget
from pipeline.inference.dtype import resolve_dtype
from pipeline.planning.scoring import window_policy
from pipeline.training.prepare import Prepared
from pipeline.training.run import PROGRESS, TrainingRun, reporter, work
from pipeline.training.workers import Workers

POLL_S = 0.5
# another run would have them too: not worth one
FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError)
LOCK_WAIT_S = 60.0  # a worker of a run that was killed may take a while to end


def make_run(job: TrainJob, prepared: Prepared) -> TrainingRun:
    """Resolves all that every worker is told. Raises ConfigError."""
    kind = job.compute.device
    return TrainingRun(
        job=job,
        prepared=prepared,
        policy=window_policy(job.text, prepared.windows, prepared.encoder.max_positions),
        device=kind,
        dtype=resolve_dtype(job.compute.dtype, kind),
        budget=job.compute.token_budget or default_budget(kind),
        threads=worker_threads(job.compute),
    )


def fit(run: TrainingRun, show: Callable[[dict[str, Any]], None], tell: Callable[[str], None]) -> None:
    """Trains on the job's workers; `show` gets every report, `tell` lines about what is waited for.

    Needs a connection to Ray.

    Raises:
        ConfigError: the cluster can never serve the job.
        RookeryError: what a worker raised, as it raised it.
        RetryableError: a worker was lost.
    """
    compute = run.job.compute
    need = Need(
        process="training worker",
        processes=compute.workers,
        cpus=run.threads,
        gpus=compute.num_gpus,
        settings="compute.num_gpus, compute.num_cpus or compute.workers",
        tasks=0,
    )
    find_room(need, run.job.ray, compute.wait, tell)
    progress = run.prepared.work / PROGRESS
    progress.touch()
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # or a checkpoint's relative path leads nowhere
    trainer = DataParallelTrainer(
        _worker,
        train_loop_config={"run": run, "rendezvous": secrets.token_hex(8)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=compute.workers,
            use_gpu=bool(compute.num_gpus),
            resources_per_worker={"CPU": run.threads, "GPU": compute.num_gpus},
        ),
        run_config=ray.train.RunConfig(name="ray", storage_path=str(run.prepared.work), logging_config=_quiet()),
    )
    with _followed(progress, show):
        try:
            trainer.fit()
        except ray.train.WorkerGroupError as error:
            raise why(error) from error


def _worker(config: dict[str, Any]) -> None:
    run: TrainingRun = config["run"]
    context = ray.train.get_context()
    workers = Workers(context.get_world_rank(), context.get_world_size())
    with _only_run(run.prepared.work, workers), _together(run, workers, config["rendezvous"]):
        work(run, workers, reporter(run.prepared.work / PROGRESS))


@contextlib.contextmanager
def _only_run(folder: Path, workers: Workers) -> Iterator[None]:
    """Rank 0 holds the work folder's lock; the system frees it however the process ends."""
    if workers.rank:
        yield
        return
    with (folder / "lock").open("w") as lock:
        for _ in range(int(LOCK_WAIT_S / POLL_S)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(POLL_S)
        else:
            raise ConflictError(f"{folder}: another run is training here; wait for it")
        yield


@contextlib.contextmanager
def _together(run: TrainingRun, workers: Workers, rendezvous: str) -> Iterator[None]:
    if workers.count == 1:
        yield
        return
    torch.distributed.init_process_group(
        "nccl" if run.device == "cuda" else "gloo",
        init_method=f"file://{run.prepared.work}/rendezvous-{rendezvous}",
        rank=workers.rank,
        world_size=workers.count,
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _followed(path: Path, show: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Shows the lines that are appended to a file meanwhile."""
    ended = threading.Event()
    with path.open(encoding="utf-8") as file:
        file.seek(0, os.SEEK_END)

        def follow() -> None:
            while True:
                last = ended.wait(POLL_S)
                for line in file:
                    show(json.loads(line))
                if last:
                    return

        follower = threading.Thread(target=follow)
        follower.start()
        try:
            yield
        finally:
            ended.set()
            follower.join()


def why(error: ray.train.WorkerGroupError) -> BaseException:
    """Chooses what is raised: our error or a fault of the program, before what others said when it was gone."""
    failures = list(error.worker_failures.values())
    causes: list[BaseException] = [cause for cause in map(own_error, failures) if cause is not None]
    causes += [failure for failure in failures if isinstance(failure, FAULTS)]
    if causes:
        return causes[0]
    reason = last_line(failures[0] if failures else error)
    return RetryableError(f"training stopped: {reason}; run again to go on from the last state")


def _quiet() -> ray.train.LoggingConfig:
    return ray.train.LoggingConfig(log_level="ERROR")
