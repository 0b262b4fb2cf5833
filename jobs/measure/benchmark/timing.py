"""Medians of interleaved runs: on a shared machine a ratio of neighbours in time means something, a second does not."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

MICRO_SECONDS = 0.3  # what a small work is repeated for


def seconds(work: Callable[[], object], device: str) -> float:
    """Times one run of `work`, to the end of what it started on the device."""
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def medians(works: Mapping[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Runs all of them in turn, `rounds` times; gives each one's median, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work, device))
    return {name: statistics.median(of_one) for name, of_one in times.items()}


def micro_medians(works: Mapping[str, Callable[[], object]], device: str) -> dict[str, float]:
    """Times works of milliseconds: warmed up, and as many rounds as fit MICRO_SECONDS each; medians in seconds."""
    first = {name: (seconds(work, device), seconds(work, device))[1] for name, work in works.items()}
    rounds = max(3, int(MICRO_SECONDS * len(works) / sum(first.values())))
    return medians(works, rounds, device)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
