"""What a run over a large corpus costs its driver: `python -m jobs.measure.scale`.

The store is simulated (simulated_store.py), and so are tasks (simulated_tasks.py). All that the driver does is real:
listing, units, ids, waves, progress, groups, digests, claims, copies, checks and manifest. What tasks do, reading
footers, labelling and writing data files, is made up; one task of planning and one of publishing are really done, and a
line says what they cost.
"""

import gc
import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from jobs.measure.figures import as_markdown
from jobs.measure.page import Page, made_by
from jobs.measure.phase_costs import Cost, Meter, cost_table, forget_peak, of_median_cpu, peak_megabytes
from jobs.measure.simulated_store import DOCUMENTS_PER_UNIT, SimulatedStore, World, corpus_file, fragment_bytes
from jobs.measure.simulated_tasks import TASKS, map_on_simulated_tasks
from jobs.sample import CHECKPOINT
from jobs.terminal.label_progress import progress_line
from pipeline.config.label import Job, parse_job
from pipeline.corpus.units import TOGETHER
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.shared_reading import SharedPass
from pipeline.planning.survey import make_survey, unchanged_snapshot
from pipeline.runs.progress import Progress
from pipeline.runs.spending import spent_budget
from pipeline.runs.unit_done import UnitDone
from pipeline.tables.group_tallies import GroupTallies
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.publish import GroupWriter, is_current, publish
from pipeline.tables.snapshots import Manifest

CHANGED = 1000  # one file in as many is replaced before the table is published again
SHOWN_EACH = 1000  # units: what is shown of progress meanwhile
SIMULATED_ACTORS = 64
WIDTH = 250  # the table needs less: in a file too it is whole
Made = TypeVar("Made")
SimulatedNight = tuple[list[Cost], World]  # what a run cost, and what it left in the store


def measure_scale(files: int, apart: Callable[..., SimulatedNight] = lambda run, world: run(world)) -> list[Cost]:
    """Measures every phase with a corpus of so many files; `apart` calls a function for each run, as in a process."""
    world, costs = World(files=files, file=corpus_file()), list[Cost]()
    for run in (first_night, later_run, second_night_unchanged, second_night):
        of_run, world = apart(run, world)
        costs += of_run
    return costs


def first_night(world: World) -> SimulatedNight:
    """Labels and publishes all."""
    SimulatedStore.world, meter = world, Meter(world.files)
    plan = meter.measure("first night: plan", planned)
    meter.measure("first night: label", lambda: labelled(plan))
    seen = make_survey(job()).digest
    meter.measure("first night: publish", lambda: published(plan, seen))
    return meter.costs, world


def later_run(world: World) -> SimulatedNight:
    """Plans what is published."""
    SimulatedStore.world, meter = world, Meter(world.files)
    meter.measure("a later run: plan, all is labelled", planned)
    return meter.costs, world


def second_night_unchanged(world: World) -> SimulatedNight:
    """Finds that there is nothing to do."""
    SimulatedStore.world, meter = world, Meter(world.files)
    meter.measure("second night: nothing has changed", unchanged)
    return meter.costs, world


def second_night(world: World) -> SimulatedNight:
    """Publishes a corpus of which some files are replaced, whose units are labelled at once."""
    SimulatedStore.world, meter = world, Meter(world.files)
    world.replaced = CHANGED
    plan = meter.measure(f"second night: plan, one file in {CHANGED:,} replaced", planned)
    for id_, _ in plan.missing:
        world.add_fragment(plan.fragments.uri(id_))
    seen = make_survey(job()).digest
    meter.measure("second night: publish", lambda: published(plan, seen))
    return meter.costs, world


def job() -> Job:
    """Gives the job file of all phases."""
    required = ["corpus.uris=simulated://corpus", "corpus.id_column=id", f"checkpoint.uri={CHECKPOINT}"]
    return parse_job("", [*required, "table.uri=simulated://table", "budget.minutes=1000000"])


def unchanged() -> Manifest:
    """Looks for changes, as `rookery label` does before it plans."""
    snapshot = unchanged_snapshot(make_survey(job()))
    assert snapshot is not None
    return snapshot


def planned() -> Plan:
    """Plans, as `rookery label` does before it labels."""
    plan = make_plan(job(), mapped=map_on_simulated_tasks)
    assert len(plan.missing) <= len(plan.units)
    is_current(plan.snapshots, plan.publication)
    return plan


def labelled(plan: Plan) -> Plan:
    """Does what `rookery label` does in the driver while units are labelled, which a fake model has done at once."""
    from pipeline.cluster.read_stage import ReadStage  # imports ray, which has to be loaded in its own process
    from pipeline.cluster.unit_source import UnitSource
    from pipeline.cluster.waves import label_in_waves

    tables = (plan.work(),)

    def computed(wave: list[SharedPass]) -> Iterator[UnitDone]:
        UnitSource(wave, ReadStage(plan.storage, tables)).get_read_tasks(len(wave))
        with TASKS.at_work():
            units = [made_up_unit(unit.id(plan.scoring.key), n) for n, one in enumerate(wave) for unit in one.units]
            for unit in units:
                SimulatedStore.world.add_fragment(plan.fragments.uri(unit.unit))
        yield from units

    seconds = itertools.count(step=1 / SIMULATED_ACTORS)
    progress = Progress([plan], lambda: next(seconds))
    for number, unit in enumerate(label_in_waves([plan], tables, computed, map_on_simulated_tasks)):
        progress.add(unit)
        assert spent_budget(plan.job.budget, progress) is None
        if number % SHOWN_EACH == 0:
            progress_line(progress.figures(0))
    return plan


def made_up_unit(id_: str, number: int) -> UnitDone:
    """Makes what the driver is told of a unit that nobody computed."""
    tokens, lengths = 1000 * DOCUMENTS_PER_UNIT, [0] * 10 + [DOCUMENTS_PER_UNIT]
    actor = f"machine:{number % SIMULATED_ACTORS}"
    unit = UnitDone(id_, 0, DOCUMENTS_PER_UNIT, 0, DOCUMENTS_PER_UNIT, tokens, actor=actor, lengths=lengths)
    return replace(unit, read_s=0.1, text_s=0.2, encode_s=1.0, write_s=0.1, device="a GPU")


def published(plan: Plan, seen: str) -> Plan:
    """Publishes, as `rookery label` does after it has labelled."""
    publication = plan.cut_streams().with_erased_ids().publication
    manifest = publish(plan.snapshots, plan.fragments, publication, {}, map_on_simulated_tasks)
    LastSurvey(plan.storage, plan.job.table.uri).write(seen, manifest.content)
    return plan


def real_tasks() -> str:
    """Says what a task of planning and one of publishing cost, which are really done here; for a process of its own."""
    world = SimulatedStore.world
    world.files, world.file = TOGETHER, corpus_file()
    started = time.process_time()
    plan = make_plan(job())
    cut = time.process_time() - started
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
        f"Tasks, really done: planning {TOGETHER:,} files takes {cut:.2f} s of one core, so 1,000,000 files "
        f"{cut / TOGETHER * 1e6 / 3600:.2f} core hours; publishing a group of {len(group.units)} units and "
        f"{file.rows:,} documents {seconds:.2f} s (and {counted:.2f} s to count it before), {memory} MB above the "
        f"process's own, for a file of {file.bytes / 1e6:.1f} MB ({file.bytes / file.rows:.0f} bytes a row), so "
        f"1,000,000 units {(seconds + counted) / len(group.units) * 1e6 / 3600:.1f} core hours."
    )


def scale(
    files: Annotated[int, typer.Option(help="Files of the largest corpus.")] = 1_000_000,
    repeat: Annotated[int, typer.Option(help="How often the smaller sizes are measured, for the median.")] = 3,
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Plan, label and publish simulated corpora of a hundredth, a tenth and all of the files."""
    page = Page(markdown)
    console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    costs: list[Cost] = []
    for size, times in ((files // 100, repeat), (files // 10, repeat), (files, 1)):
        costs += of_median_cpu([measure_scale(max(1, size), with_libraries) for _ in range(times)])
        console.print(cost_table(costs))
    tasks = with_libraries(real_tasks)
    console.print(tasks)
    page.write(made_by(), [as_markdown(cost_table(costs)), tasks])


def with_libraries(function: Callable[..., Made], *arguments: World) -> Made:
    """Calls a function in a process of its own, which has loaded what the driver of a run has."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), load_libraries) as process:
        return process.submit(function, *arguments).result()


def load_libraries() -> None:
    """Loads what the driver of a run has loaded, so that it counts as memory from the first phase on."""
    import ray.data  # noqa: F401
    import torch  # noqa: F401

    gc.freeze()  # as a run does


if __name__ == "__main__":
    typer.run(scale)
