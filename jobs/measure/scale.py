"""What planning and publishing cost on a large corpus: `python -m jobs.measure.scale`.

The store is simulated (simulated_store.py). All that the driver does is real: listing, footers, units, ids, groups,
digests, claims, copies, checks and manifest. The data files' contents, which tasks write, are not written; one full
group is, and a line says what that costs.
"""

import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from jobs.measure.figures import as_markdown
from jobs.measure.page import Page, made_by
from jobs.measure.simulated_store import DOCUMENTS_PER_UNIT, SimulatedStore, corpus_file, fragment_bytes, tally
from jobs.sample import CHECKPOINT
from pipeline.config.label import Job, parse_job
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.survey import make_survey, unchanged_snapshot
from pipeline.tables.changes import ContentDigests, DocumentReader
from pipeline.tables.group_tallies import GroupTallies, GroupTally
from pipeline.tables.groups import Group
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.publish import GroupWriter, is_current, publish
from pipeline.tables.snapshots import Manifest, SnapshotFile

CHANGED = 1000  # one file in as many is replaced before the table is published again
WIDTH = 250  # the table needs less: in a file too it is whole
REQUESTS = ("LIST", "HEAD", "GET", "PUT", "COPY")
A = TypeVar("A")
B = TypeVar("B")
Work = TypeVar("Work", Plan, Manifest)


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

    def measure(self, phase: str, work: Callable[[], Work]) -> Work:
        """Runs a phase and keeps what it cost; gives what it made."""
        SimulatedStore.world.requests.clear()
        forget_peak()
        started, cpu = time.perf_counter(), time.process_time()
        made = work()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        requests, peak = Counter(SimulatedStore.world.requests), peak_megabytes()
        units, groups = _units_and_groups(made)
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
        return made


def _units_and_groups(made: Plan | Manifest) -> tuple[int, int]:
    if isinstance(made, Manifest):
        return made.counts["units"], len(made.files)
    return len(made.units), len(made.publication.groups)


def measure_scale(files: int) -> list[Cost]:
    """Measures every phase with a corpus of so many files; this process's store is that corpus's from then on."""
    world, meter = SimulatedStore.world, Meter(files)
    world.files, world.file = files, corpus_file()
    simulate_labelling(meter.measure("plan, nothing is labelled", planned))
    plan = meter.measure("plan, all is labelled", planned)
    seen = make_survey(job()).digest
    plan = meter.measure("publish the first snapshot", lambda: published(plan, seen))
    del plan
    meter.measure("nothing has changed", unchanged)
    world.replaced = CHANGED
    plan = planned()
    simulate_labelling(plan)
    seen = make_survey(job()).digest
    meter.measure("publish with 0.1% of the files replaced", lambda: published(plan, seen))
    return meter.costs


def job() -> Job:
    """Gives the job file of all phases."""
    required = ["corpus.uris=simulated://corpus", "corpus.id_column=id", f"checkpoint.uri={CHECKPOINT}"]
    return parse_job("", [*required, "table.uri=simulated://table"])


def unchanged() -> Manifest:
    """Looks for changes, as `rookery label` does before it plans."""
    snapshot = unchanged_snapshot(make_survey(job()))
    assert snapshot is not None
    return snapshot


def planned() -> Plan:
    """Plans, as `rookery label` does before it labels."""
    plan = make_plan(job())
    assert len(plan.missing) <= len(plan.units)
    is_current(plan.snapshots, plan.publication)
    return plan


def simulate_labelling(plan: Plan) -> None:
    """Gives every unit its fragment; those of replaced files stay."""
    folders = defaultdict(list, SimulatedStore.world.fragments)
    for id_, _ in plan.missing:
        folders[plan.fragments.uri(id_).removeprefix("simulated://").rpartition("/")[0]].append(id_)
    SimulatedStore.world.fragments = dict(folders)


def published(plan: Plan, seen: str) -> Plan:
    """Publishes, as `rookery label` does after it has labelled."""
    manifest = publish(plan.snapshots, plan.fragments, plan.publication, {}, mapped)
    LastSurvey(plan.storage, plan.job.table.uri).write(seen, manifest.content)
    return plan


def mapped(function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
    """Calls a function on each item as `map` does, but groups' files and tallies come from nowhere."""
    if isinstance(function, GroupWriter):
        return (unwritten(function, group) for group in items)  # type: ignore[arg-type,misc]
    if isinstance(function, GroupTallies):
        return (uncounted(function, group) for group in items)  # type: ignore[arg-type,misc]
    if isinstance(function, DocumentReader):
        return (unread(files) for files in items)  # type: ignore[arg-type,misc]
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


def unread(files: list[SnapshotFile]) -> ContentDigests:
    """Makes up the documents of files that nobody wrote, as a task would read them."""
    SimulatedStore.world.requests.update(GET=len(files))
    ids = np.arange(sum(file.rows for file in files), dtype=np.uint64)
    return np.column_stack([ids, ids * 2])


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
