"""For what a run waits that does not get on: actors, readers, the encoder, the store."""

from collections import Counter
from collections.abc import Iterator

import ray
from ray._private.state import state

from pipeline.dataflow.plan import Plan

ENCODER = "Encoder"  # the actor's class, in the name that Ray Data gives to its workers
BEGUN = ".begun"
STAGES = {"read": "read and tokenized", "predict": "computed"}
NAMED = 3


def waiting_for(plan: Plan) -> str:
    """One line for people. Raises StorageError where the store does not answer: then that is what the run waits for."""
    units = list(_begun_units(plan))
    shown = [f"{uri} is being {STAGES.get(stage, stage)}" for stage, uri in units[:NAMED]]
    more = [f"and {len(units) - NAMED:,} more units"] if len(units) > NAMED else []
    return "; ".join([_actors(), *(shown or ["no unit is begun: readers wait for a core"]), *more])


def _actors() -> str:
    found = state.actor_table(
        None, job_id=ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    )
    states = Counter(
        actor["State"] for actor in found.values() if ENCODER in actor["ActorClassName"]
    )
    waiting = states.total() - states["ALIVE"] - states["DEAD"]
    if not states.total() - states["DEAD"]:
        return "no encoder actor is placed yet"
    late = f", {waiting} not placed or starting" if waiting else ""
    return f"{states['ALIVE']} encoder actors at work{late}"


def _begun_units(plan: Plan) -> Iterator[tuple[str, str]]:
    """Stage and file of the units that are marked as begun."""
    files = {id_: unit.file.uri for id_, unit in zip(plan.unit_ids, plan.units, strict=True)}
    for stored in plan.storage.find(plan.fragments.folder):
        name = stored.uri.rpartition("/")[2]
        if name.endswith(BEGUN):
            unit, stage, *_ = name.removesuffix(BEGUN).split(".")
            yield stage, files.get(unit, "a part of a file")
