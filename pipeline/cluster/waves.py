"""Units without a fragment, in waves: so many at a time that what the driver holds of them is bounded.

Where the table has scores of units that the corpus no longer names, or where equal texts are to be computed once, what
is there is taken over (taking_over.py); else all is computed (graph.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from pipeline.cluster.graph import compute
from pipeline.cluster.needs import encoders, find_room
from pipeline.cluster.ray_tasks import map_on_ray
from pipeline.cluster.taking_over import take_over_or_compute
from pipeline.cluster.waiting import waiting_for
from pipeline.cluster.watch import Watch
from pipeline.mapped import Argument, Mapped, Output
from pipeline.planning.plan import Plan
from pipeline.planning.shared_reading import TableShare, shared_passes
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
    job, wave = plans[0].job, plans[0].job.units.wave
    tables = tuple(plan.work(run) for plan, run in zip(plans, runs, strict=True))
    work = shared_passes(TableShare(table, units) for table, plan in enumerate(plans) for units in plan.passes)
    calculation = partial(compute, job, tables)
    find_room(encoders(job.compute, len(plans)), job.ray, job.compute.wait, tell)
    finished = [set(plan.finished) for plan in plans]
    with Watch(lambda: waiting_for(plans), tell) as watch:
        for start in range(0, len(work), wave):
            if is_stopped():
                return
            passes = work[start : start + wave]
            if any(plan.takes_over for plan in plans):
                labelled = take_over_or_compute(plans, tables, passes, finished, calculation, _watched(watch))
            else:
                labelled = calculation(passes)
            for unit in labelled:
                watch.progress()
                if not unit.incomplete:
                    finished[unit.table].add(unit.unit)
                yield unit


def _watched(watch: Watch) -> Mapped:
    """Ray's map, each of whose results is progress: no unit ends while the units of a wave are described."""

    def mapped(function: Callable[[Argument], Output], items: Iterable[Argument], /) -> Iterator[Output]:
        for output in map_on_ray(function, items):
            watch.progress()
            yield output

    return mapped
