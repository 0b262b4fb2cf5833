"""What planning and publishing cost on a large corpus: `python -m jobs.measure.scale`.

The store is simulated: a filesystem whose listings are computed, 10 units and 10,000 documents to a file. Every
footer is one real footer, every fragment is made up when it is read, nothing holds text. All that the driver does is
real: listing, footers, units, ids, groups, digests, claims, copies, checks and manifest. The data files' contents,
which tasks write, are not written; one full group is, and a line says what that costs.

Requests are counted as s3fs would send them (tests/jobs/measure/test_scale.py holds the two together).
"""

import contextlib
import hashlib
import io
import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from jobs.measure.figures import as_markdown
from jobs.measure.page import Page, made_by
from jobs.sample import CHECKPOINT
from pipeline.config.label import parse_job
from pipeline.planning.plan import Plan, make_plan
from pipeline.schema import DOCUMENT_LOGITS, fragment_schema
from pipeline.tables.group_tallies import GroupTallies, GroupTally
from pipeline.tables.groups import Group
from pipeline.tables.publish import GroupWriter, is_current, publish
from pipeline.tables.repeatable_parquet import parquet_bytes
from pipeline.tables.snapshots import SnapshotFile

UNITS_PER_FILE = 10
DOCUMENTS_PER_UNIT = 1000
_DOCUMENT_BYTES = 16_000
LISTED_AT_ONCE = 1000  # objects in one reply of a store
CHANGED = 1000  # one file in as many is replaced before the table is published again
WIDTH = 250  # the table needs less: in a file too it is whole
REQUESTS = ("LIST", "HEAD", "GET", "PUT", "COPY")
A = TypeVar("A")
B = TypeVar("B")


@dataclass(slots=True)
class World:
    """What the simulated store holds, and what it was asked."""

    files: int = 0
    file: bytes = b""
    replaced: int = 0  # one corpus file in so many has a second version; 0: none
    fragments: dict[str, list[str]] = field(default_factory=dict)  # unit ids by folder
    sizes: dict[str, int] = field(default_factory=dict)  # of a snapshot's files
    tallies: dict[str, int] = field(default_factory=dict)  # documents of each
    objects: dict[str, bytes] = field(default_factory=dict)  # of all else that was put
    requests: Counter[str] = field(default_factory=Counter)


class SimulatedStore(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """`simulated://corpus` and `simulated://table`, as an object store would answer."""

    protocol = "simulated"
    world: ClassVar[World] = World()

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        self.world.requests["HEAD"] += 1
        if path.startswith("corpus/"):
            return self._corpus_file(int(path[-15:-8]))
        if path in self.world.objects:
            return _info(path, len(self.world.objects[path]))
        self.world.requests["LIST"] += 1
        if next(self._below(path), None) is None:
            raise FileNotFoundError(path)
        return {"name": path, "size": 0, "type": "directory"}

    def exists(self, path: str, **_: Any) -> bool:
        self.world.requests["HEAD"] += 1
        return True

    def find(self, path: str, **_: Any) -> dict[str, dict[str, Any]]:
        found = {info["name"]: info for info in self._below(path)}
        self.world.requests["LIST"] += max(1, -(-len(found) // LISTED_AT_ONCE))
        if not found:  # s3fs looks whether it is an object
            with contextlib.suppress(FileNotFoundError):
                self.info(path)
        return found

    def ls(self, path: str, **_: Any) -> list[dict[str, Any]]:
        self.world.requests["LIST"] += 1
        folders = [folder for folder in self.world.fragments if folder.startswith(f"{path}/")]
        return [{"name": folder, "size": 0, "type": "directory"} for folder in folders]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        self.world.requests["GET"] += 1
        if path.startswith("corpus/"):
            return self.world.file[start:end]
        if path in self.world.tallies:
            return tally(path, self.world.tallies[path]).dump()
        if path not in self.world.objects:
            raise FileNotFoundError(path)
        return self.world.objects[path]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self.world.requests["PUT"] += 1
        if mode == "create" and path in self.world.objects:
            raise FileExistsError(path)
        if path.endswith(".parquet"):
            self.world.sizes[path] = len(value)
        else:
            self.world.objects[path] = value

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        self.world.requests.update(("HEAD", "COPY"))
        self.world.sizes[path2] = self.world.sizes[path1]

    def _below(self, path: str) -> Iterator[dict[str, Any]]:
        world = self.world
        if path == "corpus":
            yield from (self._corpus_file(number) for number in range(world.files))
        elif path.endswith("/_units/tallies"):
            yield from (_info(name, 1) for name in [*world.tallies, *world.objects] if name.startswith(path))
        elif "/_units" in path:
            for folder, units in world.fragments.items():
                if f"{folder}/".startswith(f"{path}/"):
                    yield from (_info(f"{folder}/{unit}.parquet", 1) for unit in units)
        else:
            for sizes in (world.sizes, {name: len(data) for name, data in world.objects.items()}):
                inside = (name for name in list(sizes) if name.startswith(f"{path}/"))
                yield from (_info(name, sizes[name]) for name in inside)

    def _corpus_file(self, number: int) -> dict[str, Any]:
        world = self.world
        version = 2 if world.replaced and number % world.replaced == 0 else 1
        name = f"corpus/documents-{number:07d}.parquet"
        return _info(name, len(world.file)) | {"ETag": f'"{version:04d}{number:028d}"'}


def _info(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "size": size, "type": "file", "ETag": f'"{"0" * 32}"'}


fsspec.register_implementation("simulated", SimulatedStore)


def corpus_file() -> bytes:
    """A Parquet file whose footer tells of 10,000 documents of 16,000 bytes; all alike, so that it weighs little."""
    sink, rows = io.BytesIO(), UNITS_PER_FILE * DOCUMENTS_PER_UNIT
    documents = pa.table(
        {
            "id": [f"document-{row:05d}" for row in range(rows)],
            "text": pa.repeat("x" * _DOCUMENT_BYTES, rows),
        }
    )
    pq.write_table(documents, sink, row_group_size=DOCUMENTS_PER_UNIT, use_dictionary=False, compression="zstd")
    return sink.getvalue()


def fragment_bytes(path: str) -> bytes:
    """A unit's fragment: no two alike, so that published files are as large as real ones."""
    random = np.random.default_rng(list(path.encode()))
    n = DOCUMENTS_PER_UNIT
    digests = random.bytes(32 * n).hex()
    logits = pa.array(random.standard_normal(5 * n).astype(np.float32))
    columns = {
        "id": [f"document-{number:012d}" for number in random.integers(0, 10**12, n)],
        "position": np.arange(n),
        "content_sha256": [digests[64 * row : 64 * row + 64] for row in range(n)],
        "n_tokens": random.integers(1000, 8000, n).astype(np.int32),
        "n_windows": random.integers(1, 3, n).astype(np.int32),
        "truncated": np.zeros(n, bool),
        "logits": pa.ListArray.from_arrays(np.arange(0, 5 * n + 1, 5, dtype=np.int32), logits),
    }
    schema = fragment_schema(DOCUMENT_LOGITS)
    arrays = [columns.get(name, pa.nulls(n)) for name in schema.names]
    return parquet_bytes(pa.table(arrays, names=schema.names).cast(schema))


def tally(path: str, documents: int) -> GroupTally:
    """Makes a group's tally: as many digests as documents, spread evenly, and no two groups with the same."""
    step = 2**64 // documents
    first = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) % step
    digests = np.arange(documents, dtype=np.uint64) * np.uint64(step) + np.uint64(first)
    return GroupTally(documents, [], digests)


@dataclass(frozen=True, slots=True)
class Cost:
    """One phase at one size."""

    files: int
    phase: str
    units: int
    groups: int
    seconds: float
    cpu_seconds: float  # steadier than the clock where others use the machine too
    peak_megabytes: int
    requests: Counter[str]
    manifest_bytes: int  # the newest


@dataclass(slots=True)
class Meter:
    """Measures one phase after the other in this process."""

    files: int
    costs: list[Cost] = field(default_factory=list)

    def measure(self, phase: str, work: Callable[[], Plan]) -> Plan:
        """Runs a phase and keeps what it cost; gives its plan."""
        SimulatedStore.world.requests.clear()
        forget_peak()
        started, cpu = time.perf_counter(), time.process_time()
        plan = work()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        requests, peak = Counter(SimulatedStore.world.requests), peak_megabytes()
        units, groups = len(plan.units), len(plan.publication.groups)
        manifests = [
            len(data)
            for name, data in sorted(SimulatedStore.world.objects.items())
            if "/_snapshots/" in name and name.endswith(".json")
        ]
        self.costs.append(
            Cost(
                files=self.files,
                phase=phase,
                units=units,
                groups=groups,
                seconds=seconds,
                cpu_seconds=cpu_seconds,
                peak_megabytes=peak,
                requests=requests,
                manifest_bytes=manifests[-1] if manifests else 0,
            )
        )
        return plan


def measure_scale(files: int) -> list[Cost]:
    """Measures every phase with a corpus of so many files; this process's store is that corpus's from then on."""
    world, meter = SimulatedStore.world, Meter(files)
    world.files, world.file = files, corpus_file()
    simulate_labelling(meter.measure("plan, nothing is labelled", planned))
    plan = meter.measure("plan, all is labelled", planned)
    plan = meter.measure("publish the first snapshot", lambda: published(plan))
    del plan
    meter.measure("plan, nothing to do", planned)
    world.replaced = CHANGED
    plan = planned()
    simulate_labelling(plan)
    meter.measure("publish with 0.1% of the files replaced", lambda: published(plan))
    return meter.costs


def planned() -> Plan:
    """Plans, as `rookery label` does before it labels."""
    required = ["corpus.uris=simulated://corpus", "corpus.id_column=id", f"checkpoint.uri={CHECKPOINT}"]
    plan = make_plan(parse_job("", [*required, "table.uri=simulated://table"]))
    assert len(plan.missing) <= len(plan.units)
    is_current(plan.snapshots, plan.publication)
    return plan


def simulate_labelling(plan: Plan) -> None:
    """Gives every unit its fragment; those of replaced files stay."""
    folders = defaultdict(list, SimulatedStore.world.fragments)
    for id_, _ in plan.missing:
        folders[plan.fragments.uri(id_).removeprefix("simulated://").rpartition("/")[0]].append(id_)
    SimulatedStore.world.fragments = dict(folders)


def published(plan: Plan) -> Plan:
    """Publishes, as `rookery label` does after it has labelled."""
    publish(plan.snapshots, plan.fragments, plan.publication, {}, mapped)
    return plan


def mapped(function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
    """Calls a function on each item as `map` does, but groups' files and tallies come from nowhere."""
    if isinstance(function, GroupWriter):
        return (unwritten(function, group) for group in items)  # type: ignore[arg-type,misc]
    if isinstance(function, GroupTallies):
        return (uncounted(function, group) for group in items)  # type: ignore[arg-type,misc]
    return map(function, items)


def uncounted(tallies: GroupTallies, group: Group) -> GroupTally:
    """Makes the tally of a group that nobody counted, as its task would return and keep it."""
    world, path = SimulatedStore.world, tallies.uri(group).removeprefix("simulated://")
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


def real_group() -> str:
    """Says what one publishing task costs: writes a full group for real; for a process of its own."""
    world = SimulatedStore.world
    world.files, world.file = 1000, corpus_file()
    plan = planned()
    group = max(plan.publication.groups, key=lambda group: len(group.units))
    for unit in group.units:
        uri = plan.fragments.uri(unit.id)
        world.objects[uri.removeprefix("simulated://")] = fragment_bytes(uri)
    write = GroupWriter(plan.snapshots, plan.fragments, plan.layout, plan.task, 1)
    forget_peak()
    before, started = peak_megabytes(), time.process_time()
    (file,) = write(group)
    seconds, memory = time.process_time() - started, peak_megabytes() - before
    started = time.process_time()
    GroupTallies(plan.fragments)(group)
    counted = time.process_time() - started
    return (
        f"One task, a group of {len(group.units)} units and {file.rows:,} documents, really written: "
        f"{seconds:.2f} s of one core "
        f"(and {counted:.2f} s to count it before), {memory} MB above the process's own, a file of "
        f"{file.bytes / 1e6:.1f} MB ({file.bytes / file.rows:.0f} bytes a row); "
        f"by that 1,000,000 units take {(seconds + counted) / len(group.units) * 1e6 / 3600:.1f} core hours"
    )


def forget_peak() -> None:
    """Starts the peak anew from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> int:
    """Reads the most memory resident at once since `forget_peak`, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1000


def scale(
    files: Annotated[int, typer.Option(help="Files of the largest corpus.")] = 100_000,
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Plan and publish simulated corpora of a hundredth, a tenth and all of the files."""
    page = Page(markdown)
    console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    costs: list[Cost] = []
    for size in (files // 100, files // 10, files):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            costs += process.submit(measure_scale, max(1, size)).result()
    console.print(cost_table(costs))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        group = process.submit(real_group).result()
    console.print(group)
    page.write(made_by(), [as_markdown(cost_table(costs)), group])


def cost_table(costs: list[Cost]) -> Table:
    """Shows the phases one after the other, each at every size."""
    table = Table(
        "phase",
        *(
            Column(name, justify="right")
            for name in (
                "files",
                "units",
                "documents",
                "groups",
                "s",
                "CPU s",
                "× CPU",
                "peak MB",
                *REQUESTS,
                "per unit",
                "manifest MB",
            )
        ),
        box=box.SIMPLE,
    )
    for phase in dict.fromkeys(cost.phase for cost in costs):
        before: Cost | None = None
        for cost in (cost for cost in costs if cost.phase == phase):
            growth = f"{cost.cpu_seconds / before.cpu_seconds:.1f}" if before else ""
            documents = cost.units * DOCUMENTS_PER_UNIT
            numbers = (cost.files, cost.units, documents, cost.groups)
            table.add_row(
                phase if not before else "",
                *(f"{number:,}" for number in numbers),
                f"{cost.seconds:.1f}",
                f"{cost.cpu_seconds:.1f}",
                growth,
                f"{cost.peak_megabytes:,}",
                *(f"{cost.requests[name]:,}" for name in REQUESTS),
                f"{cost.requests.total() / cost.units:.3f}",
                f"{cost.manifest_bytes / 1e6:.1f}",
            )
            before = cost
        table.add_section()
    return table


if __name__ == "__main__":
    typer.run(scale)
