"""What one reading of a corpus is for: every table of a run that lacks units of it, each with a checkpoint of its own.

A run with one checkpoint has one table. Tables may lack different units, know more or less of a stream's parts and have
units in other editions: what is read together is read once, and each table takes of it what it lacks.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt

from pipeline.corpus.slices import Slice, Unit
from pipeline.corpus.streams import Pass
from pipeline.planning.scoring import Scoring
from pipeline.tables.attempts import Attempts
from pipeline.tables.fragments import Fragments
from pipeline.tables.heartbeats import Heartbeats
from pipeline.tables.stream_lengths import StreamLengths
from pipeline.tasks.task import Task

Chosen = npt.NDArray[np.bool_]  # of each document of a unit, in its order
Wanted = Mapping[str, Chosen]  # by the id of the unit
TableUnit = tuple[int, str]  # a table by its number in the run, and its id of a unit


@dataclass(frozen=True, slots=True)
class TableShare:
    """What one table lacks of units that are read together.

    Attributes:
        table: its number among the run's tables.
        units: in the table's editions; a stream that it has not cut, alone.
        wanted: of a unit that is not computed whole, by its id, which of its documents are.
    """

    table: int
    units: Pass
    wanted: Wanted = field(default_factory=dict)

    @property
    def stream(self) -> Unit | None:
        """The stream whose parts this table has not counted yet, if that is what it lacks."""
        return self.units[0] if self.units[0].slice.is_stream else None

    def finder(self) -> Callable[[Slice], Unit | None]:
        """Makes what finds the table's own unit for a slice that is read; None where it doesn't lack it."""
        if stream := self.stream:
            return lambda slice_: stream.part(slice_.part_number) if slice_.part_number is not None else None
        return {unit.slice: unit for unit in self.units}.get


@dataclass(frozen=True, slots=True)
class TableWork:
    """One table of a run, as workers know it.

    Attributes:
        run: the id under which marks are left in it.
        may_stop: whether the run has a budget, after which its workers begin nothing more.
    """

    scoring: Scoring
    fragments: Fragments
    stream_lengths: StreamLengths
    task: Task
    run: str = ""
    may_stop: bool = False

    def is_stopped(self) -> bool:
        """Tells whether this run's workers are to begin nothing more."""
        return self.may_stop and Heartbeats(self.fragments).is_stopped(self.run)

    def attempts(self, stage: str) -> Attempts:
        """Gives the marks that a stage leaves in the table."""
        return Attempts(self.fragments, stage, self.run)

    def read_attempt(self, share: TableShare) -> AbstractContextManager[bool]:
        """Marks its share of a pass for as long as the block reads it; gives whether an earlier attempt was ended."""
        return self.attempts("read").attempt(share.units[0].id(self.scoring.key))


@dataclass(frozen=True, slots=True)
class SharedPass:
    """Units that are read in one pass, and what each table takes of them."""

    units: Pass
    shares: tuple[TableShare, ...]


def shared_passes(shares: Iterable[TableShare]) -> list[SharedPass]:
    """Puts together what several tables want to have read of one stream, one row group or one slice.

    Of each of these a table has one share at most.
    """
    together: dict[Hashable, list[TableShare]] = {}
    for share in shares:
        together.setdefault(_source(share.units[0]), []).append(share)
    return [SharedPass(_union(of_source), tuple(of_source)) for of_source in together.values()]


def passes_in_order(tables: Iterable[Iterable[TableShare]]) -> Iterator[SharedPass]:
    """Yields what `shared_passes` gives, file by file, and never holds more than one file's.

    `tables`: each table's shares in the order of their files' URIs, which is that of a corpus.
    """
    merged = heapq.merge(*tables, key=_uri)
    for _, of_file in groupby(merged, key=_uri):
        yield from shared_passes(of_file)


def _uri(share: TableShare) -> str:
    return share.units[0].file.uri


def _source(unit: Unit) -> Hashable:
    """What is opened for a pass: one of its units tells."""
    slice_ = unit.slice
    if slice_.stream:
        return unit.file, "stream"
    return unit.file, slice_ if slice_.pass_key is None else slice_.pass_key


def _union(shares: list[TableShare]) -> Pass:
    if len(shares) == 1:
        return shares[0].units
    if stream := next((share.stream for share in shares if share.stream), None):
        return (stream,)
    by_slice = {unit.slice: unit for share in shares for unit in share.units}
    return tuple(sorted(by_slice.values(), key=_place) if len(by_slice) > 1 else by_slice.values())


def _place(unit: Unit) -> int:
    number = unit.slice.part_number
    return unit.slice.row_range[0] if number is None else number
