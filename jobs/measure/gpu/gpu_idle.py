"""How long a device waits, by the times of its kernels."""

import math
from collections.abc import Callable, Iterable

from torch.profiler import ProfilerActivity, profile

from jobs.measure.benchmark.timing import seconds


def idle_share(work: Callable[[], object], device: str) -> float:
    """The share of the time from a work's first kernel to its last in which none runs; of a CPU, no operator."""
    kind = "CUDA" if device == "cuda" else "CPU"
    with profile(activities=[getattr(ProfilerActivity, kind)]) as profiler:
        seconds(work, device)
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type.name == kind and not event.name.startswith(("Memcpy", "Memset", "cuda", "Profiler"))
    ]
    return idle_between(spans)


def idle_between(spans: Iterable[tuple[float, float]]) -> float:
    """The share of the time from the first start to the last end that no span covers; NaN if there are none."""
    ordered = sorted(spans)
    if not ordered:
        return math.nan
    covered, end = 0.0, ordered[0][0]
    for start, stop in ordered:
        covered += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return 1 - covered / (end - ordered[0][0])
