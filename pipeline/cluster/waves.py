"""Units without a fragment, in waves: so many at a time that what the driver holds of them is bounded.

Where the table has scores of units that the corpus no longer names, or where equal texts are to be computed once, what
is there is taken over (taking_over.py); else all is computed (graph.py).
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from pipeline.cluster.graph import UnitDone, compute
from pipeline.cluster.needs import encoders, find_room
from pipeline.cluster.ray_tasks import map_on_ray
from pipeline.cluster.taking_over import take_over_or_compute
from pipeline.cluster.waiting import waiting_for
from pipeline.cluster.watch import Watch
from pipeline.mapped import Argument, Mapped, Output
from pipeline.planning.plan import Plan


def label_units(plan: Plan, run: str, tell: Callable[[str], None]) -> Iterator[UnitDone]:
    """Labels every unit that has no fragment; yields each as it is done. Needs `ray_cluster`.

    `run` is the id under which marks are left; `tell` gets lines that say what the run waits for, where it waits.

    Raises:
        ConfigError: the cluster can never serve the job.
        RookeryError: what a stage raised, as it raised it.
        RetryableError: Ray lost a worker more often than it may.
    """
    job, passes, wave = plan.job, plan.passes, plan.job.units.wave
    find_room(encoders(job.compute), job.ray, job.compute.wait, tell)
    finished = set(plan.finished)
    with Watch(lambda: waiting_for(plan), tell) as watch:
        for start in range(0, len(passes), wave):
            units = passes[start : start + wave]
            calculation = partial(compute, plan, run)
            if plan.takes_over:
                labelled = take_over_or_compute(plan, units, finished, run, calculation, _watched(watch))
            else:
                labelled = calculation(units)
            for unit in labelled:
                watch.progress()
                if not unit.incomplete:
                    finished.add(unit.unit)
                yield unit


def _watched(watch: Watch) -> Mapped:
    """Ray's map, each of whose results is progress: no unit ends while the units of a wave are described."""

    def mapped(function: Callable[[Argument], Output], items: Iterable[Argument], /) -> Iterator[Output]:
        for output in map_on_ray(function, items):
            watch.progress()
            yield output

    return mapped
