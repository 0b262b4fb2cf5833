"""What phases of a run's driver cost at several sizes of the corpus, and how that grows."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeVar

from rich import box
from rich.table import Column, Table

from jobs.measure.simulated_store import DOCUMENTS_PER_UNIT, SimulatedStore
from jobs.measure.simulated_tasks import TASKS
from pipeline.planning.plan import Plan
from pipeline.tables.snapshots import Manifest

REQUESTS = ("LIST", "HEAD", "GET", "PUT", "COPY")
COST_COLUMNS = (
    *("files", "units", "documents", "groups", "s", "CPU s", "× CPU", "exponent", "peak MB"),
    *(*REQUESTS, "by the driver", "manifest MB"),
)
Work = TypeVar("Work", Plan, Manifest)


@dataclass(frozen=True, slots=True)
class Cost:
    """One phase at one size. Of time and requests what tasks do on a cluster is no part, but for `requests`."""

    files: int
    phase: str
    units: int
    groups: int
    seconds: float
    cpu_seconds: float  # steadier than the clock where others use the machine too
    peak_megabytes: int
    requests: Counter[str]  # of the driver and of tasks
    driver_requests: Counter[str]
    manifest_bytes: int  # the newest


@dataclass(slots=True)
class Meter:
    """Measures one phase after the other in this process."""

    files: int
    costs: list[Cost] = field(default_factory=list)

    def measure(self, phase: str, work: Callable[[], Work]) -> Work:
        """Runs a phase and keeps what it cost; gives what it made."""
        world = SimulatedStore.world
        world.requests.clear()
        TASKS.clear()
        forget_peak()
        started, cpu = time.perf_counter(), time.process_time()
        made = work()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        requests, peak = Counter(world.requests), peak_megabytes()
        units, groups = _units_and_groups(made)
        names = sorted(name for name in world.objects if "/_snapshots/" in name and name.endswith(".json"))
        self.costs.append(
            Cost(
                files=self.files,
                phase=phase,
                units=units,
                groups=groups,
                seconds=seconds - TASKS.seconds,
                cpu_seconds=cpu_seconds - TASKS.cpu_seconds,
                peak_megabytes=peak,
                requests=requests,
                driver_requests=requests - TASKS.requests,
                manifest_bytes=len(world.objects[names[-1]]) if names else 0,
            )
        )
        return made


def _units_and_groups(made: Plan | Manifest) -> tuple[int, int]:
    if isinstance(made, Manifest):
        return made.counts["units"], len(made.files)
    return len(made.units), len(made.publication.groups)


def forget_peak() -> None:
    """Starts the peak anew from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> int:
    """Reads the most memory resident at once since `forget_peak`, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1000


def of_median_cpu(repeated: Iterable[list[Cost]]) -> list[Cost]:
    """Gives of each phase, measured several times at one size, the one whose CPU time is in the middle."""
    costs = []
    for of_phase in zip(*repeated, strict=True):
        middle = median(cost.cpu_seconds for cost in of_phase)
        costs.append(min(of_phase, key=lambda cost: abs(cost.cpu_seconds - middle)))
    return costs


def exponent(before: Cost, after: Cost) -> float:
    """Gives x where CPU time grows as the number of files to the power of x."""
    return math.log(after.cpu_seconds / before.cpu_seconds) / math.log(after.files / before.files)


def cost_table(costs: list[Cost]) -> Table:
    """Shows the phases one after the other, each at every size."""
    table = Table("phase", *(Column(name, justify="right") for name in COST_COLUMNS), box=box.SIMPLE)
    for phase in dict.fromkeys(cost.phase for cost in costs):
        before: Cost | None = None
        for cost in (cost for cost in costs if cost.phase == phase):
            numbers = (cost.files, cost.units, cost.units * DOCUMENTS_PER_UNIT, cost.groups)
            table.add_row(
                phase if not before else "",
                *(f"{number:,}" for number in numbers),
                f"{cost.seconds:.1f}",
                f"{cost.cpu_seconds:.2f}",
                f"{cost.cpu_seconds / before.cpu_seconds:.1f}" if before else "",
                f"{exponent(before, cost):.2f}" if before else "",
                f"{cost.peak_megabytes:,}",
                *(f"{cost.requests[name]:,}" for name in REQUESTS),
                f"{cost.driver_requests.total():,}",
                f"{cost.manifest_bytes / 1e6:.1f}",
            )
            before = cost
        table.add_section()
    return table
