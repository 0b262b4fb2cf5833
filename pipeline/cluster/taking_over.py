"""A wave of units, of which only documents are computed whose text has no scores yet.

    units ── DescribeStage ──▶ keys of their texts ── the index ──▶ which documents to compute, and who has the others
                                                                        │
          the graph, for the documents that nobody has ◀────────────────┤
                            │                                           │
                            └──▶ Assembly ◀── fragments of other units ─┘ ──▶ fragments

The text of a unit that is taken over whole is read once and never tokenized; that of a unit in which something is to
be computed, twice. What can't be put together in the end, because a fragment was removed meanwhile, is computed whole.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.cluster.describe_stage import Described, DescribeStage
from pipeline.cluster.graph import UnitDone
from pipeline.cluster.read_stage import Chosen, Wanted
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import Pass, passes
from pipeline.mapped import Mapped
from pipeline.planning.plan import Plan
from pipeline.tables.assembly import Assembly, Sources
from pipeline.tables.content_index import ABSENT, ContentIndex
from pipeline.tables.scratch import Scratch

Units = dict[str, Unit]  # by id
Computation = Callable[[list[Pass], Wanted], Iterator[UnitDone]]


@dataclass(slots=True)
class Division:
    """What is to be done with the units of a wave."""

    whole: list[str] = field(default_factory=list)  # computed as if nobody had anything
    assembled: list[Sources] = field(default_factory=list)
    wanted: dict[str, Chosen] = field(default_factory=dict)  # of those that are assembled: documents to be computed


def take_over_or_compute(
    plan: Plan, wave: list[Pass], finished: Collection[str], run: str, compute: Computation, mapped: Mapped
) -> Iterator[UnitDone]:
    """Labels a wave of units; yields each as it is done.

    `finished`: the units that have fragments by now. `compute`: the graph. `mapped` spreads the rest of the work.
    Raises what the two raise.
    """
    stage = DescribeStage(plan.storage, plan.fragments, plan.stream_lengths, run)
    of_passes = mapped(stage, wave)
    described = {one.unit.id(plan.scoring.key): one for of_pass in of_passes for one in of_pass}
    units = {id_: one.unit for id_, one in described.items()}
    division = _divide(plan, described, finished, mapped)
    scratch = Scratch(plan.fragments)
    before = scratch.units("computed") if division.wanted else set[str]()  # by a run that was ended
    wanted = {id_: chosen for id_, chosen in division.wanted.items() if id_ not in before}
    yield from _compute(compute, units, [*division.whole, *wanted], wanted)
    left: list[str] = []
    for sources, assembled in zip(
        division.assembled, mapped(Assembly(plan.fragments), division.assembled), strict=True
    ):
        if assembled is None:
            left.append(sources.unit)
        else:
            documents = assembled.taken_over + assembled.unreadable
            yield UnitDone(sources.unit, documents, assembled.unreadable, 0, 0, taken_over=assembled.taken_over)
    yield from _compute(compute, units, left, {})
    scratch.remove([*division.whole, *left])


def _compute(compute: Computation, units: Units, chosen: list[str], wanted: Wanted) -> Iterator[UnitDone]:
    together = set(chosen)
    if chosen:
        yield from compute(passes(unit for id_, unit in units.items() if id_ in together), wanted)


def _divide(plan: Plan, described: dict[str, Described], finished: Collection[str], mapped: Mapped) -> Division:
    """Decides for each unit which of its documents are computed, and which units have the rows of the others."""
    keys = np.unique(np.concatenate([np.empty(0, np.int64), *(one.keys for one in described.values())]))
    index = ContentIndex(plan.fragments)
    index.extend(finished if plan.job.deduplicate else plan.orphans, mapped)
    numbers, holders = index.look_up(keys, finished)
    division = Division()
    for id_, one in described.items():
        places = np.searchsorted(keys, one.keys)
        own = numbers[places] == ABSENT
        if plan.job.deduplicate:
            own = _first_of_each(places, own)
            numbers[places[own]] = len(holders)
            holders.append(id_)
        others = {holders[number] for number in numbers[places] if number != ABSENT} - {id_}
        _divide_unit(division, id_, one, own, others)
    return division


def _first_of_each(places: npt.NDArray[np.intp], own: Chosen) -> Chosen:
    first = np.zeros(len(own), bool)
    first[np.unique(places, return_index=True)[1]] = True
    return own & first


def _divide_unit(division: Division, id_: str, one: Described, own: Chosen, others: set[str]) -> None:
    """`own`: of each text that can be labelled, whether this unit computes it."""
    if len(own) and own.all():
        division.whole.append(id_)
        return
    division.assembled.append(Sources(id_, tuple(sorted(others))))
    if own.any():
        wanted = np.zeros(len(one.readable), bool)
        wanted[one.readable] = own
        division.wanted[id_] = wanted
