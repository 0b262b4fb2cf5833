"""What a labelling run does on Ray: connect, be known to be alive, label what is missing."""

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jobs.terminal import label_output
from jobs.terminal.label_progress import LabelProgress
from jobs.terminal.run_log import run_log
from pipeline.cluster.connection import cluster_address, is_connected, ray_cluster
from pipeline.config.label import Job
from pipeline.errors import BudgetSpentError
from pipeline.mapped import Mapped
from pipeline.planning.plan import Plan
from pipeline.runs.progress import LabelledWork, Progress
from pipeline.runs.run_record import BEAT_SECONDS_OF_PROGRESS
from pipeline.runs.spending import spent_budget
from pipeline.tables.attempts import remove_marks_of_run
from pipeline.tables.heartbeats import Heartbeats
from pipeline.ticking import every

TellProgress = Callable[[Sequence[Plan], Progress], None]

# of fragments: 500,000 documents with three labels, in 4 s of one core and 130 MB, where Ray takes as long to start
FEW_BYTES = 32_000_000


@contextlib.contextmanager
def connected(job: Job) -> Iterator[None]:
    """Connects to the job's cluster, as ray_cluster does; says where, for it may take a minute."""
    if (address := cluster_address(job.ray)) and not is_connected():
        label_output.print_connecting(address)
    with ray_cluster(job):
        gc.freeze()  # what is loaded by now stays: a million units that pass by make Python look through it otherwise
        try:
            yield
        finally:
            gc.unfreeze()  # or Python frees nothing of it at the end, and DuckDB complains of leaks on standard error


def connecting_first(job: Job, stack: contextlib.ExitStack) -> Mapped:
    """A map on Ray that connects when it is first used: a run with few files and nothing to do needs none."""

    def mapped(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        stack.enter_context(connected(job))
        from pipeline.cluster.ray_tasks import map_on_ray

        return map_on_ray(function, items)

    return mapped


@contextlib.contextmanager
def running(plans: Sequence[Plan]) -> Iterator[tuple[list[str], Mapped]]:
    """Begins a run that others know to be alive: gives its id in each table, and what maps publishing's work.

    Connects to the plans' cluster for both, but for a run that labels nothing and publishes little: this process does.

    What it gives up when somebody ends it is no suspect for the next run: its marks go when Ray is down and makes no
    new ones.
    """
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(Heartbeats(plan.fragments).beating()) for plan in plans]
        try:
            if only_little_to_publish(plans):
                yield runs, map
            else:
                with connected(plans[0].job):
                    from pipeline.cluster.ray_tasks import map_on_ray

                    yield runs, map_on_ray
        except BaseException as error:
            if not isinstance(error, Exception):
                for plan, run in zip(plans, runs, strict=True):
                    remove_marks_of_run(plan.fragments, run, len(plan.units))
            raise


def only_little_to_publish(plans: Sequence[Plan]) -> bool:
    """Tells whether a run labels nothing, and publishes so little that this process has done it when Ray is there."""
    return not any(plan.missing for plan in plans) and sum(plan.fragment_bytes for plan in plans) <= FEW_BYTES


@contextlib.contextmanager
def outcomes_counted(plans: Sequence[Plan], errors: Callable[[], Sequence[BaseException | None]]) -> Iterator[None]:
    """Counts for each table how a run ends, where Ray is there to tell: by what leaves the block, else by `errors`."""
    try:
        yield
    except BaseException as error:
        _count_outcomes(plans, [error] * len(plans))
        raise
    _count_outcomes(plans, errors())


def _count_outcomes(plans: Sequence[Plan], errors: Sequence[BaseException | None]) -> None:
    if is_connected():
        from pipeline.cluster.run_metrics import count_outcomes

        count_outcomes(plans, errors)


def label_missing(
    plans: Sequence[Plan], runs: Sequence[str], tell: TellProgress = lambda plans, progress: None
) -> list[LabelledWork]:
    """Labels the units that have no fragment, in each plan's table, and shows progress; gives what each came to.

    Needs `running`, which gives `runs`. `tell` is called time and again with the plans that lack units, and how far
    the work on them is.

    Raises BudgetSpentError where the jobs' budget ends before the units, and as `label_units`.
    """
    works = [LabelledWork() for _ in plans]
    if lacking := [number for number, plan in enumerate(plans) if plan.missing]:  # no model is loaded for the others
        some = [plans[number] for number in lacking]
        progress = Progress(some)
        for number, work in zip(lacking, progress.works, strict=True):
            works[number] = work
        shown = LabelProgress(progress, [plan.job.table.uri for plan in some]).shown()
        try:
            with shown, every(BEAT_SECONDS_OF_PROGRESS, lambda: tell(some, progress)):
                _label(some, [runs[number] for number in lacking], progress)
        finally:
            tell(some, progress)
    return works


def _label(plans: list[Plan], runs: list[str], progress: Progress) -> None:
    from pipeline.cluster.run_metrics import GAUGE_SECONDS, RunMetrics
    from pipeline.cluster.waves import label_units

    spent: str | None = None
    metrics = RunMetrics(plans)
    with every(GAUGE_SECONDS, lambda: metrics.show(progress)):
        for unit in label_units(plans, runs, run_log.notice, lambda: spent is not None):
            progress.add(unit)
            metrics.add(unit)
            if spent is None and (spent := spent_budget(plans[0].job.budget, progress)):
                run_log.notice(f"{spent}: units that are begun are finished, and no other begins")
                for plan, run in zip(plans, runs, strict=True):
                    Heartbeats(plan.fragments).stop(run)
        metrics.show(progress)
    if spent:
        _check_all_is_labelled(plans, spent)


def _check_all_is_labelled(plans: list[Plan], spent: str) -> None:
    """Raises BudgetSpentError, unless a budget was spent by the last unit."""
    for plan in plans:
        cut = plan.cut_streams()
        ids = cut.unit_ids.array
        left = len(ids) - int(cut.fragments.finished(len(ids)).are_in(ids).sum())
        if left:
            raise BudgetSpentError(
                f"{spent}, and {left:,} of {len(cut.units):,} units of {plan.job.table.uri} are left; all others are "
                "kept: run again to go on, or raise the budget"
            )


def check_checkpoint(plan: Plan) -> None:
    """Loads the weights once here, so that a corrupt checkpoint ends the job before Ray starts."""
    if not plan.missing:
        return
    import torch

    from pipeline.checkpoints.names import load_classifier

    load_classifier(plan.checkpoint, torch.float32)
