"""For what a run waits that does not get on: actors, readers, the encoder, the store."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator

import ray
from ray._private.state import state

from pipeline.cluster.encode_stage import EncodeStage
from pipeline.planning.plan import Plan
from pipeline.tables.attempts import MARK_ENDING, mark_note

_ENCODER = EncodeStage.__name__  # the actor's class, in the name that Ray Data gives to its workers
STAGES = {"read": "read and tokenized", "predict": "computed"}
_NAMED = 3


def waiting_for(plans: Iterable[Plan]) -> str:
    """Says in one line what a run waits for. Raises StorageError where the store does not answer: then it is that."""
    units = [(plan, unit) for plan in plans for unit in _begun_units(plan)]
    shown = list(dict.fromkeys(_described(plan, *unit) for plan, unit in units[:_NAMED]))
    more = [f"and {len(units) - _NAMED:,} more units"] if len(units) > _NAMED else []
    return "; ".join([_actors(), *(shown or ["no unit is begun: readers wait for a core"]), *more])


def _actors() -> str:
    actors = state.actor_table(None, job_id=ray.JobID.from_hex(ray.get_runtime_context().get_job_id()))
    states = Counter(actor["State"] for actor in actors.values() if _ENCODER in actor["ActorClassName"])
    waiting = states.total() - states["ALIVE"] - states["DEAD"]
    if not states.total() - states["DEAD"]:
        return "no encoder actor is placed yet"
    late = f", {waiting} not placed or starting" if waiting else ""
    return f"{states['ALIVE']} encoder actors at work{late}"


def _begun_units(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Of the units that are marked as begun: the mark, the stage and the file."""
    marks = [mark for mark in plan.fragments.listing(len(plan.units)).others if mark.endswith(MARK_ENDING)]
    begun = {mark: mark.rpartition("/")[2].removesuffix(MARK_ENDING).split(".") for mark in marks}
    wanted = {unit for unit, *_ in begun.values()}
    files = {id_: unit.file.uri for id_, unit in plan.missing if id_ in wanted}
    for mark, (unit, stage, *_) in begun.items():
        yield mark, stage, files.get(unit, "a part of a file")


def _described(plan: Plan, mark: str, stage: str, uri: str) -> str:
    with contextlib.suppress(FileNotFoundError):  # the unit ended meanwhile
        if about := mark_note(plan.storage.read(mark)):
            return f"{uri} is being {STAGES[stage]} ({about})"
    return f"{uri} is being {STAGES[stage]}"
