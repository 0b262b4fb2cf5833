"""Ray tasks that come from nowhere: what the driver sends and gets is real, and what tasks do in between costs nothing.

What goes to a task and comes back is pickled and unpickled, as Ray does it in the driver. What a task would read or
write is made up, so that no million footers are parsed and no hundred million rows written; its requests are counted,
apart from the driver's.
"""

import contextlib
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from jobs.measure.simulated_store import SimulatedStore, tally
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.slices import Unit
from pipeline.corpus.units import Cutter
from pipeline.tables.changes import ContentDigests, DocumentReader
from pipeline.tables.group_tallies import GroupTallies, GroupTally
from pipeline.tables.groups import Group
from pipeline.tables.publish import GroupWriter
from pipeline.tables.snapshots import SnapshotFile

SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two numbers become one
A = TypeVar("A")
B = TypeVar("B")


@dataclass(slots=True)
class Tasks:
    """What tasks did in a phase that the driver didn't do."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Forgets it."""
        self.seconds = self.cpu_seconds = 0.0
        self.requests = Counter()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Counts what the block does as a task's."""
        requests, before = SimulatedStore.world.requests, Counter(SimulatedStore.world.requests)
        started, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += time.process_time() - cpu
        self.requests += requests - before


TASKS = Tasks()


def map_on_simulated_tasks(function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
    """Calls a function on each item as `map` does, in tasks that make up what they would read and write."""
    for item in items:
        sent = pickle.dumps(item)
        with TASKS.at_work():
            returned = pickle.dumps(_made_up(function, pickle.loads(sent)))
        yield pickle.loads(returned)


def _made_up(function: Callable[[Any], Any], item: Any) -> Any:
    match function:
        case Cutter():
            return [unit for file in item for unit in uncut(function, file)]
        case GroupWriter():
            return unwritten(function, item)
        case GroupTallies():
            return uncounted(function, item)
        case DocumentReader():
            return unread(item)
        case _:
            return function(item)


def uncut(cutter: Cutter, file: CorpusFile) -> list[Unit]:
    """Makes the units of a file whose footer nobody read: those of another one, for all files are alike."""
    SimulatedStore.world.requests.update(("HEAD", "GET"))
    if not SimulatedStore.world.units:
        SimulatedStore.world.units = cutter([file])
    return [replace(unit, file=file) for unit in SimulatedStore.world.units]


def uncounted(tallies: GroupTallies, group: Group) -> GroupTally:
    """Makes the tally of a group that nobody counted, as its task would return and keep it."""
    world, path = SimulatedStore.world, tallies.uri(group.members).removeprefix("simulated://")
    world.requests.update(GET=len(group.units), PUT=1)
    world.tallies[path] = sum(unit.documents or 0 for unit in group.units)
    return tally(path, world.tallies[path])


def unwritten(writer: GroupWriter, group: Group) -> list[SnapshotFile]:
    """Makes the record of a data file that nobody wrote, as its task would return it."""
    world = SimulatedStore.world
    inputs = group.inputs(writer.layout, writer.task.key)
    folder = f"{writer.snapshots.folder('data', writer.snapshot)}{group.folder}"
    path = f"{folder}part-{group.bucket:04d}-{inputs[:16]}.parquet"
    rows = sum(unit.documents or 0 for unit in group.units)
    labels = dict.fromkeys(("ethereum", "kubernetes", "python", "rust", "swift"), rows // 5)
    world.requests.update(GET=len(group.units), PUT=1)
    world.sizes[f"table/{path}"] = size = 100 * rows
    return [
        SnapshotFile(path, "data", "added", dict(group.partition), group.bucket, rows, size, inputs, inputs, labels)
    ]


def unread(files: list[SnapshotFile]) -> ContentDigests:
    """Makes up the documents of files that nobody wrote, as a task would read them."""
    SimulatedStore.world.requests.update(GET=len(files))
    first = np.uint64(int(files[0].inputs[:16], 16))
    numbers = np.arange(sum(file.rows for file in files), dtype=np.uint64) + first
    ids = numbers * SPREAD  # over all 64 bits, as digests are
    return np.column_stack([ids, ids | np.uint64(2)])
