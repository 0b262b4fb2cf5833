"""Units without a fragment, in waves: so many at a time that what the driver holds of them is bounded.

Where the table has scores of units that the corpus no longer names, or where equal texts are to be computed once, what
is there is taken over (taking_over.py); else all is computed (graph.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from pipeline.cluster.graph import compute
from pipeline.cluster.needs import encoders, find_room
from pipeline.cluster.ray_tasks import map_on_ray
from pipeline.cluster.taking_over import Computation, take_over_or_compute
from pipeline.cluster.waiting import waiting_for
from pipeline.cluster.watch import Watch
from pipeline.mapped import Argument, Mapped, Output
from pipeline.planning.plan import Plan
from pipeline.planning.shared_reading import TableShare, TableWork, passes_in_order
from pipeline.runs.unit_done import UnitDone


def label_units(
    plans: Sequence[Plan],
    runs: Sequence[str],
    tell: Callable[[str], None],
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[UnitDone]:
    """Labels every unit that has no fragment, in the table of each plan; yields each as it is done.

    Needs `ray_cluster`. The plans are of one corpus and differ in their checkpoints and tables. `runs`: for each table
    the id under which marks are left in it; `tell` gets lines that say what the run waits for, where it waits. Where
    `is_stopped`, no other wave begins; of this one the units that are begun are finished (`Heartbeats.stop`).

    Raises:
        ConfigError: the cluster can never serve the job.
        RookeryError: what a stage raised, as it raised it.
        RetryableError: Ray lost a worker more often than it may.
    """
    job = plans[0].job
    tables = tuple(plan.work(run) for plan, run in zip(plans, runs, strict=True))
    find_room(encoders(job.compute, len(plans)), job.ray, job.compute.wait, tell)
    with Watch(lambda: waiting_for(plans), tell) as watch:
        for unit in label_in_waves(plans, tables, partial(compute, job, tables), _watched(watch), is_stopped):
            watch.progress()
            yield unit


def label_in_waves(
    plans: Sequence[Plan],
    tables: tuple[TableWork, ...],
    calculation: Computation,
    mapped: Mapped,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[UnitDone]:
    """Labels what `label_units` does by `calculation`, a wave of units after the other, and `mapped`.

    Of what is missing it holds a wave, and where scores are taken over the ids of the units that have some.
    """
    work = passes_in_order(_shares(table, plan) for table, plan in enumerate(plans))
    takes_over = any(plan.takes_over for plan in plans)
    finished = [set(plan.finished) if takes_over else set[str]() for plan in plans]
    while not is_stopped() and (wave := list(islice(work, plans[0].job.units.wave))):
        if takes_over:
            labelled = take_over_or_compute(plans, tables, wave, finished, calculation, mapped)
        else:
            labelled = calculation(wave)
        for unit in labelled:
            if takes_over and not unit.incomplete:
                finished[unit.table].add(unit.unit)
            yield unit


def _shares(table: int, plan: Plan) -> Iterator[TableShare]:
    return (TableShare(table, units) for units in plan.passes)


def _watched(watch: Watch) -> Mapped:
    """Ray's map, each of whose results is progress: no unit ends while the units of a wave are described."""

    def mapped(function: Callable[[Argument], Output], items: Iterable[Argument], /) -> Iterator[Output]:
        for output in map_on_ray(function, items):
            watch.progress()
            yield output

    return mapped
