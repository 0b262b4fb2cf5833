"""A wave of units, of which only documents are computed whose text has no scores yet.

    units ── DescribeStage ──▶ keys of their texts ── the index ──▶ which documents to compute, and who has the others
                                                                        │
          the graph, for the documents that nobody has ◀────────────────┤
                            │                                           │
                            └──▶ Assembly ◀── fragments of other units ─┘ ──▶ fragments

The text of a unit that is taken over whole is read once and never tokenized; that of a unit in which something is to
be computed, twice. What can't be put together in the end, because a fragment was removed meanwhile, is computed whole.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.cluster.describe_stage import Described, DescribeStage
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import passes
from pipeline.mapped import Mapped
from pipeline.planning.plan import Plan
from pipeline.planning.shared_reading import Chosen, SharedPass, TableShare, TableWork, Wanted, shared_passes
from pipeline.runs.unit_done import UnitDone
from pipeline.tables.assembly import Assembly, Sources
from pipeline.tables.content_index import ABSENT, ContentIndex
from pipeline.tables.scratch import Scratch

Units = dict[str, Unit]  # by id
Computation = Callable[[list[SharedPass]], Iterator[UnitDone]]


@dataclass(slots=True)
class Division:
    """What is to be done with the units of a wave, in one table."""

    units: Units
    whole: list[str] = field(default_factory=list)  # computed as if nobody had anything
    assembled: list[Sources] = field(default_factory=list)
    wanted: dict[str, Chosen] = field(default_factory=dict)  # of those that are assembled: documents to be computed

    def shares(self, table: int, chosen: Collection[str], wanted: Wanted) -> Iterator[TableShare]:
        """Makes of chosen units what is read for the table; `wanted` travels with each pass by itself."""
        together = set(chosen)
        ids = {unit: id_ for id_, unit in self.units.items() if id_ in together}
        for units in passes(ids):
            yield TableShare(table, units, {ids[unit]: wanted[ids[unit]] for unit in units if ids[unit] in wanted})


def take_over_or_compute(
    plans: Sequence[Plan],
    tables: tuple[TableWork, ...],
    wave: list[SharedPass],
    finished: Sequence[Collection[str]],
    compute: Computation,
    mapped: Mapped,
) -> Iterator[UnitDone]:
    """Labels a wave of units; yields each as it is done.

    What is described is read once, whatever the number of tables, and so is what is computed. In a table in which
    nothing can be taken over all is computed.

    Args:
        plans: of each table.
        tables: each as its workers know it.
        wave: the units.
        finished: of each table, the units that have fragments by now.
        compute: the graph.
        mapped: spreads the rest of the work.

    Raises what the two raise.
    """
    takes_over = [plan.takes_over for plan in plans]
    shares = [share for one in wave for share in one.shares]
    to_describe = shared_passes(share for share in shares if takes_over[share.table])
    described: dict[int, dict[str, Described]] = {table: {} for table in range(len(plans)) if takes_over[table]}
    for one in (one for some in mapped(DescribeStage(plans[0].storage, tables), to_describe) for one in some):
        described[one.table][one.unit.id(plans[one.table].scoring.key)] = one
    divisions = {
        table: _divide(plans[table], of_table, finished[table], mapped) for table, of_table in described.items()
    }
    at_once = [share for share in shares if not takes_over[share.table]]
    for table, division in divisions.items():
        # not what a run that was ended has computed
        before = Scratch(tables[table].fragments).units("computed") if division.wanted else set[str]()
        wanted = {id_: chosen for id_, chosen in division.wanted.items() if id_ not in before}
        at_once += division.shares(table, [*division.whole, *wanted], wanted)
    yield from _compute(compute, at_once)
    lost: dict[int, list[str]] = {table: [] for table in divisions}
    for table, division in divisions.items():
        yield from _assemble(table, tables[table], division, lost[table], mapped)
    yield from _compute(compute, (s for table, of in divisions.items() for s in of.shares(table, lost[table], {})))
    for table, division in divisions.items():
        Scratch(tables[table].fragments).remove([*division.whole, *lost[table]])


def _compute(compute: Computation, shares: Iterable[TableShare]) -> Iterator[UnitDone]:
    if work := shared_passes(shares):
        yield from compute(work)


def _assemble(table: int, work: TableWork, division: Division, lost: list[str], mapped: Mapped) -> Iterator[UnitDone]:
    """Puts units together; adds to `lost` those of which a source is gone."""
    assembled = mapped(Assembly(work.fragments), division.assembled)
    for sources, unit in zip(division.assembled, assembled, strict=True):
        if unit is None:
            lost.append(sources.unit)
        else:
            documents = unit.taken_over + unit.unreadable
            yield UnitDone(sources.unit, table, documents, unit.unreadable, 0, 0, taken_over=unit.taken_over)


def _divide(plan: Plan, described: dict[str, Described], finished: Collection[str], mapped: Mapped) -> Division:
    """Decides for each unit which of its documents are computed, and which units have the rows of the others."""
    keys = np.unique(np.concatenate([np.empty(0, np.int64), *(one.keys for one in described.values())]))
    index = ContentIndex(plan.fragments)
    index.extend(finished if plan.job.deduplicate else plan.orphans, mapped)
    numbers, holders = index.look_up(keys, finished)
    division = Division({id_: one.unit for id_, one in described.items()})
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
