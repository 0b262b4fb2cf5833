"""What is left of the speed beside other load, and with more threads: `python -m jobs.measure.load`.

Measures the predictor and training, each in a process of its own with as many threads as it may have cores: alone,
beside busy processes, and under a control group's quota of one core. `shared` is the predictor as torch would have
it: all threads in one pack. Then the predictor with 1 to 8 threads, on one core and on all, by affinity, and with each
thread pinned to a core.
"""

import contextlib
import itertools
import multiprocessing
import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from jobs.measure.figures import as_markdown
from jobs.measure.load_work import LOADED_WORK, packs_by_threads
from jobs.measure.own_process import in_a_process
from jobs.measure.page import Page, made_by
from jobs.terminal.console import console
from pipeline.cores import CGROUPS, available_cores

PERIOD_US = 100_000
THREAD_COUNTS = (1, 2, 4, 8)
BESIDE = ("", ", beside one busy process")
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
    by_threads: Measured = {}
    for _ in range(rounds):
        for condition, entered in conditions.items():
            for name, work in LOADED_WORK.items():
                with entered():
                    measured.setdefault((name, condition), []).append(in_a_process(work, seconds))
        for threads, (place, (cores, pinned)), busy_cores in itertools.product(THREAD_COUNTS, places().items(), (0, 1)):
            with busy(busy_cores):
                speed = in_a_process(packs_by_threads, seconds, cores, threads, pinned=pinned)
            by_threads.setdefault((f"{threads}", place + BESIDE[busy_cores]), []).append(speed)
    tables = [speeds_table(measured, list(conditions)), threads_table(by_threads)]
    for table in tables:
        console.print(table)
    page.write(made_by(), map(as_markdown, tables))


def places() -> dict[str, tuple[int, bool]]:
    """Lists where threads run: how many cores, and whether each thread is pinned to one."""
    cores = available_cores()
    return {"1 core": (1, False), f"{cores} cores": (cores, False), f"{cores} cores, pinned": (cores, True)}


def threads_table(measured: Measured) -> Table:
    """Shows medians, in tokens per second, by the number of threads."""
    columns = list(dict.fromkeys(column for _, column in measured))
    shown = Table("threads", *(Column(f"{column}, tokens/s", justify="right") for column in columns))
    for threads in dict.fromkeys(threads for threads, _ in measured):
        shown.add_row(threads, *(f"{statistics.median(measured[threads, column]):,.0f}" for column in columns))
    return shown


def speeds_table(measured: Measured, conditions: list[str]) -> Table:
    """Shows medians, in tokens per second, and their shares of the first condition's."""
    shown = Table("tokens/s", *(Column(condition, justify="right") for condition in conditions))
    for name in LOADED_WORK:
        medians = [statistics.median(measured[name, condition]) for condition in conditions]
        shares = [f"{median:,.0f} ({median / medians[0]:.0%})" for median in medians]
        shown.add_row(name, *shares)
    return shown


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


if __name__ == "__main__":
    typer.run(load)
