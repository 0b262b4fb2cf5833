"""What a labelling run does on Ray, but for publishing: connect, be known to be alive, label what is missing."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jobs.terminal import label_output
from jobs.terminal.label_progress import LabelledWork, LabelProgress
from pipeline.cluster.connection import cluster_address, is_connected, ray_cluster
from pipeline.config.label import Job
from pipeline.mapped import Mapped
from pipeline.planning.plan import Plan
from pipeline.tables.attempts import remove_marks_of_run
from pipeline.tables.heartbeats import Heartbeats


def connected(job: Job) -> contextlib.AbstractContextManager[None]:
    """Connects to the job's cluster, as ray_cluster does; says where, for it may take a minute."""
    if (address := cluster_address(job.ray)) and not is_connected():
        label_output.print_connecting(address)
    return ray_cluster(job)


def connecting_first(job: Job, stack: contextlib.ExitStack) -> Mapped:
    """A map on Ray that connects when it is first used: a run with few files and nothing to do needs none."""

    def mapped(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        stack.enter_context(connected(job))
        from pipeline.cluster.ray_tasks import map_on_ray

        return map_on_ray(function, items)

    return mapped


@contextlib.contextmanager
def running(plans: Sequence[Plan]) -> Iterator[list[str]]:
    """Connects to the plans' cluster and begins a run that others know to be alive: gives its id in each table.

    What it gives up when somebody ends it is no suspect for the next run: its marks go when Ray is down and makes no
    new ones.
    """
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(Heartbeats(plan.fragments).beating()) for plan in plans]
        try:
            with connected(plans[0].job):
                yield runs
        except BaseException as error:
            if not isinstance(error, Exception):
                for plan, run in zip(plans, runs, strict=True):
                    remove_marks_of_run(plan.fragments, run, len(plan.units))
            raise


def label_missing(plans: Sequence[Plan], runs: Sequence[str]) -> list[LabelledWork]:
    """Labels the units that have no fragment, in each plan's table, and shows progress; gives what each came to.

    Needs `running`, which gives `runs`.
    """
    works = [LabelledWork() for _ in plans]
    if lacking := [number for number, plan in enumerate(plans) if plan.missing]:  # no model is loaded for the others
        some = [plans[number] for number in lacking]
        with LabelProgress(some) as progress:
            from pipeline.cluster.waves import label_units

            for unit in label_units(some, [runs[number] for number in lacking], progress.tell):
                progress.add(unit)
        for number, work in zip(lacking, progress.works, strict=True):
            works[number] = work
    return works


def check_checkpoint(plan: Plan) -> None:
    """Loads the weights once here, so that a corrupt checkpoint ends the job before Ray starts."""
    if not plan.missing:
        return
    import torch

    from pipeline.checkpoints.names import load_classifier

    load_classifier(plan.checkpoint, torch.float32)
