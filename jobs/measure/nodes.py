"""Whether twice the nodes label twice as much: `python -m jobs.measure.nodes`.

Simulates nodes by raylets on this machine, all on loopback, with CPUs that it doesn't have, and the encoder by one that
sleeps (sleeping_stage.py). All else is real: the graph, Ray Data, readers, fragments, and the driver, whose share of a
core is what limits a cluster in the end.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from jobs.measure.page import Page, made_by, markdown_table
from jobs.measure.sleeping_stage import sleeping
from jobs.sample import CHECKPOINT
from jobs.terminal.console import console
from pipeline.cluster.connection import prepare_own_ray
from pipeline.config.label import Job, parse_job
from pipeline.cores import available_cores
from pipeline.planning.plan import make_plan
from pipeline.planning.shared_reading import TableShare, shared_passes
from pipeline.runs.unit_done import UnitDone

ACTORS = 8  # of a node
READER_CORES = 2  # cores of a node beside them
NODE_STORE_BYTES = 80_000_000  # of a node; Ray wants 75 MiB
MANY_ACTORS = 200
SCALING_COLUMNS = (
    "nodes",
    "actors",
    "units",
    "seconds",
    "units/s",
    "efficiency",
    "driver, % of a core",
    "driver, ms a unit",
    "this machine busy",
)


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a run on so many nodes gave.

    Attributes:
        seconds: from when all actors were at work until the last unit was there.
        efficiency: the share of the actors' time in these that they computed.
        cpu: the driver's share of a core in these, from the first unit's end on.
        busy: the share of this machine's cores that all its processes had, from then on.
    """

    nodes: int
    units: int
    seconds: float
    efficiency: float
    cpu: float
    busy: float

    @property
    def actors(self) -> int:
        """Counts them."""
        return self.nodes * ACTORS

    @property
    def rate(self) -> float:
        """Gives units per second."""
        return self.units / self.seconds

    def row(self) -> tuple[str, ...]:
        """Makes its row of the table."""
        return (
            str(self.nodes),
            str(self.actors),
            str(self.units),
            f"{self.seconds:.1f}",
            f"{self.rate:.2f}",
            f"{self.efficiency:.1%}",
            f"{self.cpu:.1%}",
            f"{self.cpu / self.rate * 1000:.0f}",
            f"{self.busy:.0%}",
        )


class UnitEnd(NamedTuple):
    """A unit that was reported: when, and by then the driver's and all cores' seconds of work."""

    at: float
    driver_cpu: float
    busy: float
    unit: UnitDone


def nodes(
    counts: Annotated[list[int] | None, typer.Option("--nodes", help="How many; each in turn. 1, 2, 4, 8.")] = None,
    seconds: Annotated[float, typer.Option(help="Seconds that an actor takes for a unit.")] = 20,
    units: Annotated[int, typer.Option(help="Units for each actor.")] = 10,
    beside: Annotated[str, typer.Option(help="What else the machine does, for the page.")] = "",
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Measure what more nodes give, and what they cost the driver."""
    page = Page(markdown)
    runs: list[Scaling] = []
    about = f"Units of {seconds:g} s, {ACTORS} actors on a node. {beside}".strip()
    with simulated_nodes() as grow:
        for count in counts or [1, 2, 4, 8]:
            grow(count)
            runs.append(measured(count, seconds, units * count * ACTORS))
            console.print(" · ".join(runs[-1].row()), soft_wrap=True)
            page.write(made_by(), figures(about, runs, seconds))  # each time: it takes minutes until the next


def figures(about: str, runs: list[Scaling], seconds: float) -> list[str]:
    """Makes what the page shows."""
    table = markdown_table([SCALING_COLUMNS, *(run.row() for run in runs)])
    return [about, table, *([at_many_actors(runs, seconds)] if len(runs) > 1 else [])]


@contextmanager
def simulated_nodes() -> Iterator[Callable[[int], None]]:
    """Starts Ray here; gives what adds nodes until there are so many."""
    prepare_own_ray()
    import ray
    from ray.cluster_utils import Cluster

    options = {"num_cpus": ACTORS + READER_CORES, "object_store_memory": NODE_STORE_BYTES, "include_dashboard": False}
    simulated = Cluster(initialize_head=True, head_node_args=options)
    try:
        ray.init(address=simulated.address, log_to_driver=False, logging_level="ERROR")

        def grow(count: int) -> None:
            while len(simulated.list_all_nodes()) < count:
                simulated.add_node(**options)

        yield grow
    finally:
        ray.shutdown()
        simulated.shutdown()


def measured(count: int, seconds: float, units: int) -> Scaling:
    """Labels a corpus of one-document files by actors that sleep."""
    from pipeline.cluster.graph import compute  # imports ray, whose environment must be set before

    with tempfile.TemporaryDirectory() as scratch:
        plan = make_plan(simulated_job(Path(scratch), count * ACTORS, units))
        (meeting := Path(scratch) / "meeting").mkdir()
        work = shared_passes(TableShare(0, one) for one in plan.passes)
        started = time.perf_counter()
        ends: list[UnitEnd] = []
        for unit in compute(plan.job, (plan.work(),), work, sleeping(seconds, count * ACTORS, meeting)):
            ends.append(UnitEnd(time.perf_counter() - started, time.process_time(), busy_seconds(), unit))
    return scaling(count, ends)


def simulated_job(folder: Path, actors: int, units: int) -> Job:
    """Makes the corpus, a unit in each file."""
    (folder / "corpus").mkdir()
    for number in range(units):
        line = json.dumps({"id": str(number), "text": "a proposal " * 100})
        (folder / "corpus" / f"{number}.jsonl").write_text(line, encoding="utf-8")
    settings = {"corpus.uris": folder / "corpus", "checkpoint.uri": CHECKPOINT, "table.uri": folder / "table"}
    overrides = [f"{name}={value}" for name, value in settings.items()]
    return parse_job("", [*overrides, "corpus.id_column=id", "compute.num_cpus=1", f"compute.actors={actors}"])


def busy_seconds() -> float:
    """Reads how long this machine's cores have worked since it was started, all together."""
    _, *ticks = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()
    user, nice, system, _idle, _waiting, *interrupts = map(int, ticks[:8])  # guests count as users already
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def scaling(count: int, ends: list[UnitEnd]) -> Scaling:
    """Makes of the units' ends, in their order, what they say about so many nodes."""
    first, last = ends[0], ends[-1]
    seconds = last.at - (first.at - first.unit.encode_s)
    return Scaling(
        nodes=count,
        units=len(ends),
        seconds=seconds,
        efficiency=sum(end.unit.encode_s for end in ends) / (seconds * count * ACTORS),
        cpu=(last.driver_cpu - first.driver_cpu) / (last.at - first.at),
        busy=(last.busy - first.busy) / (last.at - first.at) / available_cores(),
    )


def at_many_actors(runs: list[Scaling], seconds: float) -> str:
    """Extrapolates the driver's work, by the straight line through the smallest and the largest run."""
    small, large = min(runs, key=lambda run: run.actors), max(runs, key=lambda run: run.actors)
    of_actor = (large.cpu - small.cpu) / (large.actors - small.actors)
    many = large.cpu + of_actor * (MANY_ACTORS - large.actors)
    return (
        f"By the straight line through {small.actors} and {large.actors} actors (extrapolated): {MANY_ACTORS} actors, "
        f"{MANY_ACTORS / seconds:.1f} units/s, keep the driver busy for {many:.0%} of a core."
    )


if __name__ == "__main__":
    typer.run(nodes)
