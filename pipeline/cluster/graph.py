"""The whole graph.

    UnitSource ── ReadStage ──▶ EncodeStage (actor pool) ──▶ FragmentStage ──▶ one small row per unit, to the driver

With several checkpoints there is still one graph: a row of packs goes to every table that wants the same, each actor
holds every model, and a unit comes out once for each table that lacked it.

Fragments are written by a plain map stage and not by a Ray `Datasink`: its results stream back, so the driver sees each
unit as it is done, with totals that it knows from the plan.
"""

import logging
import warnings
from collections.abc import Iterator

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.util.annotations import RayDeprecationWarning

from pipeline.cluster.connection import actor_threads
from pipeline.cluster.encode_stage import EncodeStage
from pipeline.cluster.fragment_stage import FragmentStage
from pipeline.cluster.ray_errors import ray_errors_explained
from pipeline.cluster.read_stage import ReadStage
from pipeline.cluster.unit_source import UnitSource
from pipeline.config.label import ComputeSettings, Job
from pipeline.planning.shared_reading import SharedPass, TableWork
from pipeline.runs.unit_done import UnitDone

RESTARTS = 3  # of an actor, and retries of a task: Ray's default for actors is for ever
UNITS_IN_FLIGHT = 4  # per actor: the next unit's packs lie ready when one is done


def compute(
    job: Job,
    tables: tuple[TableWork, ...],
    work: list[SharedPass],
    encoder: type = EncodeStage,
) -> Iterator[UnitDone]:
    """Computes units, in the passes in which they are read, for every table that wants them; yields each as it is done.

    Of a unit that is not computed whole the rows go to the scratch. Needs `ray_cluster`, and room in it. `encoder`: the
    actors' class, or one that is made as it is and called as it is.

    Raises:
        RookeryError: what a stage raised, as it raised it.
        RetryableError: Ray lost a worker more often than it may.
    """
    configure_ray_data()
    reader = ReadStage(tables[0].fragments.storage, tables)
    packs = ray.data.read_datasource(UnitSource(work, reader), override_num_blocks=len(work))
    logits = encoded(packs, job.compute, encoder, tables, job.compute.device, actor_threads(job.compute))
    incomplete = frozenset((share.table, id_) for one in work for share in one.shares for id_ in share.wanted)
    rows = logits.map_batches(FragmentStage(tables, incomplete), batch_size=1, batch_format="pyarrow")
    with ray_errors_explained():
        for row in rows.iter_rows():
            yield UnitDone(**row, incomplete=(row["table"], row["unit"]) in incomplete)


def encoded(packs: Dataset, compute: ComputeSettings, encoder: type, *arguments: object) -> Dataset:
    """Adds the pool of actors, each an `encoder` that is made of the arguments and called with one row at a time."""
    return packs.map_batches(
        encoder,
        fn_constructor_args=arguments,
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=actor_threads(compute),
        num_gpus=compute.num_gpus or None,
        compute=_pool(compute),
        max_restarts=RESTARTS,
        max_task_retries=RESTARTS,
    )


def _pool(compute: ComputeSettings) -> ActorPoolStrategy:
    in_flight = {"max_tasks_in_flight_per_actor": UNITS_IN_FLIGHT}
    if compute.max_actors is None:
        return ActorPoolStrategy(size=compute.actors, **in_flight)
    return ActorPoolStrategy(min_size=compute.actors, max_size=compute.max_actors, **in_flight)


def configure_ray_data() -> None:
    """Makes Ray Data yield each row as it is, raise what a stage raised, and say nothing itself."""
    # 2.60 has no other way to bound an actor's restarts, and means to have one before it takes this one away
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated", category=RayDeprecationWarning)
    context = DataContext.get_current()
    # each row that a task yields is a block of its own, at once and however large: None would hold back all of them
    context.target_max_block_size = 1
    context.enable_progress_bars = False  # the job shows its own, in documents and tokens
    context.execution_options.verbose_progress = False
    context.raise_original_map_exception = True  # Ray's wrapper loses what a stage raised
    assert context.max_errored_blocks == 0  # above 0 Ray drops blocks and reports success
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is raised, and shown once
