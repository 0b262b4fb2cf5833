"""What is measured beside load, each in a process of its own: labelling and training of a small model.

The model is small, so that threads would meet often: 2 layers of 128, random weights; packs of random tokens.
"""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.cores import available_cores

PACK_TOKENS = 8192  # of a pack


def _predictor(threads: int) -> Any:
    import torch

    from pipeline.bigbird.classifier import Classifier
    from pipeline.checkpoints.folder import CheckpointFolder
    from pipeline.inference.memory import keep_freed_memory
    from pipeline.inference.predictor import Predictor

    keep_freed_memory()
    folder = CheckpointFolder.open(CHECKPOINT)
    classifier = Classifier.fresh(folder.encoder, folder.head, seed=0)
    classifier.encoder.to(torch.bfloat16)
    return Predictor(classifier, "cpu", threads=threads)


def _packs() -> Iterator[tuple[Any, Any]]:
    random = np.random.default_rng(0)
    packs = []
    for _ in range(8):
        starts = np.sort(random.choice(np.arange(1, PACK_TOKENS // 64), 3, replace=False)) * 64
        lengths = np.diff([0, *starts, PACK_TOKENS])
        packs.append((random.integers(10, 8000, PACK_TOKENS), np.minimum(lengths, 4096)))
    return cycle([(tokens[: lengths.sum()], lengths) for tokens, lengths in packs])


def own_packs(seconds: float) -> float:
    """Measures packs of which each thread computes its own, as labelling does; gives tokens per second."""
    return packs_by_threads(seconds, available_cores(), available_cores(), pinned=False)


def packs_by_threads(seconds: float, cores: int, threads: int, *, pinned: bool) -> float:
    """Measures packs of which each of `threads` computes its own, on `cores`; gives tokens per second.

    This process may use no other cores from now on. With `pinned` each thread has one of them.
    """
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, allowed)
    predictor, computed = _predictor(threads), 0
    if pinned:
        _pin(predictor, allowed)
    packs = list(zip(range(10_000), _packs(), strict=False))
    logits = predictor.predict_all(pack for _, pack in packs)
    for _ in range(8):  # warm
        next(logits)
    started = time.perf_counter()
    for (_, (tokens, _)), _ in zip(packs[8:], logits, strict=False):
        computed += len(tokens)
        if time.perf_counter() - started > seconds:
            break
    return computed / (time.perf_counter() - started)


def _pin(predictor: Any, cores: list[int]) -> None:
    """Gives each of the predictor's threads one of the cores, in turn."""
    executor = predictor._threads
    meeting = threading.Barrier(executor._max_workers)  # so that each takes one task

    def pin(number: int) -> None:
        meeting.wait()
        os.sched_setaffinity(threading.get_native_id(), {cores[number % len(cores)]})

    for future in [executor.submit(pin, number) for number in range(executor._max_workers)]:
        future.result()


def shared_pack(seconds: float) -> float:
    """Measures packs that all threads share; gives tokens per second."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    predictor, packs, computed = _predictor(available_cores()), _packs(), 0
    for _ in range(4):
        predictor._start(*next(packs))
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        tokens, lengths = next(packs)
        predictor._start(tokens, lengths)
        computed += len(tokens)
    return computed / (time.perf_counter() - started)


class _EnoughError(Exception):
    pass


def training_speed(seconds: float) -> float:
    """Measures training from scratch on the sample, after its first report; gives tokens per second."""
    from pipeline.cluster.connection import prepare_own_ray

    prepare_own_ray()
    from pipeline.cluster.trainer import make_run
    from pipeline.config.train import TrainJob
    from pipeline.training.prepare import prepare
    from pipeline.training.run import work
    from pipeline.training.workers import Workers

    reports: list[tuple[float, float]] = []

    def report(record: dict[str, Any]) -> None:
        if record["kind"] == "step":
            reports.append((time.perf_counter(), record["tokens_per_s"]))
            if reports[-1][0] - reports[0][0] > seconds:
                raise _EnoughError

    with tempfile.TemporaryDirectory() as scratch:
        job = TrainJob.model_validate(
            {
                "corpus": {
                    "uris": f"{CORPUS}/*.parquet",
                    "id_column": "id",
                    "label_column": "label",
                    "split_column": "split",
                },
                "output": {"folder": f"{scratch}/model"},
                "init": {"vocabulary": 2000, "hidden_size": 128, "layers": 2, "heads": 2, "intermediate_size": 256},
                "head": {"pooling": "mean", "kind": "linear"},
                "training": {"epochs": 1000, "tokens_per_step": 32768},
            },
            strict=False,
        )
        with contextlib.suppress(_EnoughError):
            work(make_run(job, prepare(job)), Workers(), report)
    return reports[-1][1]


LOADED_WORK: dict[str, Callable[[float], float]] = {
    "labelling, a pack for each thread": own_packs,
    "labelling, one shared pack": shared_pack,
    "training, packs for each thread": training_speed,
}
