"""What is left of the speed beside other load: `python -m jobs.measure.load`.

Measures the predictor and training, each in a process of its own with as many threads as it may have cores: alone,
beside busy processes, and under a control group's quota of one core. `shared` is the predictor as torch would have
it: all threads in one pack. The model is small, so that threads would meet often: 2 layers of 128, random weights;
packs of random tokens.
"""

import contextlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Column, Table

from jobs.measure.figures import as_markdown
from jobs.measure.page import Page, made_by
from jobs.sample import CHECKPOINT, CORPUS
from jobs.terminal.console import console
from pipeline.cores import CGROUPS, available_cores

PACK_TOKENS = 8192  # of a pack
PERIOD_US = 100_000
Measured = dict[tuple[str, str], list[float]]


def load(
    rounds: Annotated[int, typer.Option(help="Runs of each, in turn; medians are shown.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of each run.")] = 6.0,
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Measure the predictor and training alone, beside busy processes, and under a quota."""
    page = Page(markdown)
    conditions: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
        "alone": contextlib.nullcontext,
        "beside one busy process": lambda: busy(1),
        "beside three": lambda: busy(3),
        "quota of one core": quota_of_one_core,
    }
    measured: Measured = {}
    for _ in range(rounds):
        for condition, entered in conditions.items():
            for name in WORK:
                with entered():
                    measured.setdefault((name, condition), []).append(in_a_process(name, seconds))
    shares = speeds_table(measured, list(conditions))
    console.print(shares)
    page.write(made_by(), [as_markdown(shares)])


def speeds_table(measured: Measured, conditions: list[str]) -> Table:
    """Shows medians, in tokens per second, and their shares of the first condition's."""
    shown = Table("tokens/s", *(Column(condition, justify="right") for condition in conditions))
    for name in WORK:
        medians = [statistics.median(measured[name, condition]) for condition in conditions]
        shares = [f"{median:,.0f} ({median / medians[0]:.0%})" for median in medians]
        shown.add_row(name, *shares)
    return shown


def in_a_process(name: str, seconds: float) -> float:
    """Runs one of WORK for some seconds in a process of its own; gives tokens per second."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return float(pool.apply(WORK[name], (seconds,)))


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keeps `count` cores busy while the block runs, each by a process."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def quota_of_one_core() -> Iterator[None]:
    """Gives processes that are started in the block one core in all; needs root, for a control group."""
    is_v2 = (CGROUPS / "cgroup.controllers").exists()
    root = CGROUPS if is_v2 else CGROUPS / "cpu"
    group = root / f"rookery-{os.getpid()}"
    group.mkdir()
    try:
        if is_v2:
            (group / "cpu.max").write_text(f"{PERIOD_US} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(PERIOD_US))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _predictor() -> Any:
    import torch

    from pipeline.bigbird.classifier import Classifier
    from pipeline.checkpoints.folder import CheckpointFolder
    from pipeline.inference.memory import keep_freed_memory
    from pipeline.inference.predictor import Predictor

    keep_freed_memory()
    folder = CheckpointFolder.open(CHECKPOINT)
    classifier = Classifier.fresh(folder.encoder, folder.head, seed=0)
    classifier.encoder.to(torch.bfloat16)
    return Predictor(classifier, "cpu", threads=available_cores())


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
    predictor, computed = _predictor(), 0
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


def shared_pack(seconds: float) -> float:
    """Measures packs that all threads share; gives tokens per second."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    predictor, packs, computed = _predictor(), _packs(), 0
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


def training(seconds: float) -> float:
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


WORK: dict[str, Callable[[float], float]] = {
    "labelling, a pack for each thread": own_packs,
    "labelling, one shared pack": shared_pack,
    "training, packs for each thread": training,
}

if __name__ == "__main__":
    typer.run(load)
