"""CPU task: units that are read in one pass -> PACKS.

Torch is not imported here: many of these run beside one encoder.
"""

import contextlib
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import pyarrow as pa

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.corpus.isolated_reading import IsolatedReading
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import read_pass
from pipeline.errors import StorageError
from pipeline.planning.scoring import Scoring
from pipeline.planning.shared_reading import Chosen, SharedPass, TableShare, TableUnit, TableWork
from pipeline.schema import addressed, packs_of_finished_unit
from pipeline.storage.objects import Storage
from pipeline.text.isolated_packer import IsolatedPacker
from pipeline.text.packer import Packer
from pipeline.text.tokenizer import Tokenizer

Awaited = TypeVar("Awaited")
Packing = Callable[[Scoring, str, pa.Table], pa.Table]


@dataclass(frozen=True, slots=True)
class ReadStage:
    """Reads, tokenizes and packs units, one after the other, for every table that lacks them.

    Tables whose checkpoints want the same packs share them. A pass that was begun before and is not done may be what
    ended that attempt, so it is read in isolated processes.
    """

    storage: Storage
    tables: tuple[TableWork, ...]

    def __call__(self, work: SharedPass) -> Iterator[pa.Table]:
        """Yields rows of PACKS, ADDRESSED, for each unit in order: one for all tables that share it.

        They are yielded whether the unit is done by then or not: Ray counts a repeated task's blocks.
        """
        never_unpickle()
        if self.tables[0].is_stopped():
            yield from self._left(work)
            return
        with contextlib.ExitStack() as stack:
            before = [stack.enter_context(self.tables[share.table].read_attempt(share)) for share in work.shares]
            if any(before):
                yield from self._read_isolated(work, stack)
            else:
                yield from self._read(work, read_pass(self.storage, work.units), self._packs)

    def _left(self, work: SharedPass) -> Iterator[pa.Table]:
        """Yields rows without documents, as many as reading would: of a stream nobody knows, and there is none."""
        finders = [(share, share.finder()) for share in work.shares]
        for unit in work.units:
            own = [(share, found) for share, find in finders if (found := find(unit.slice))]
            for _, recipients in self._recipients(own):
                row = packs_of_finished_unit(recipients[0][1])
                yield addressed(row, [number for number, _ in recipients], [None] * len(recipients), {})

    def _packs(self, scoring: Scoring, unit: str, documents: pa.Table) -> pa.Table:
        return _packer(self.storage, scoring).packs(unit, documents)

    def _read_isolated(self, work: SharedPass, stack: contextlib.ExitStack) -> Iterator[pa.Table]:
        reading = stack.enter_context(contextlib.closing(IsolatedReading(self.storage)))
        packers: dict[Scoring, IsolatedPacker] = {}

        def packs(scoring: Scoring, unit: str, documents: pa.Table) -> pa.Table:
            if scoring not in packers:
                packer = IsolatedPacker(_packer, self.storage, scoring)
                packers[scoring] = stack.enter_context(contextlib.closing(packer))
            return packers[scoring].packs(unit, documents)

        yield from self._read(work, reading.read_pass(work.units), packs)

    def _read(
        self, work: SharedPass, documents_of: Iterator[tuple[Unit, pa.Table]], packs: Packing
    ) -> Iterator[pa.Table]:
        parts = 0
        may_be_done = work.units[0].slice.is_stream or len(work.units) > 1
        finders = [(share, share.finder()) for share in work.shares]
        for (unit, documents), seconds in timed(documents_of):
            own = [(share, found) for share, find in finders if (found := find(unit.slice))]
            for wanted, recipients in self._recipients(own):
                yield self._row(unit, documents, wanted, recipients, packs, may_be_done=may_be_done, read_s=seconds)
                seconds = 0.0  # it was read once, however many want it
            parts += 1
        for share in work.shares:
            if stream := share.stream:
                self.tables[share.table].stream_lengths.write(stream.stream_id, parts)

    def _recipients(self, own: list[tuple[TableShare, Unit]]) -> list[tuple[Chosen | None, list[TableUnit]]]:
        """Which tables share packs of a unit. The plans alone decide it, so that an attempt yields as many rows as any.

        A table from which ids were erased gets packs of its own: nobody knows beforehand which documents it leaves out.
        """
        groups: dict[Hashable, tuple[Chosen | None, list[TableUnit]]] = {}
        for share, unit in own:
            table = self.tables[share.table]
            id_ = unit.id(table.scoring.key)
            wanted = share.wanted.get(id_)
            alone = share.table if table.fragments.erased.names else None
            key = (table.scoring.packing, None if wanted is None else wanted.tobytes(), alone)
            groups.setdefault(key, (wanted, []))[1].append((share.table, id_))
        return list(groups.values())

    def _row(
        self,
        unit: Unit,
        documents: pa.Table,
        wanted: Chosen | None,
        recipients: list[TableUnit],
        packs: Packing,
        *,
        may_be_done: bool,
        read_s: float,
    ) -> pa.Table:
        started = time.perf_counter()
        numbers, ids = [number for number, _ in recipients], [id_ for _, id_ in recipients]
        first = self.tables[numbers[0]]
        has = [may_be_done and self.tables[number].fragments.has(id_) for number, id_ in recipients]
        if all(has):
            row = packs_of_finished_unit(ids[0])
        else:
            documents = first.fragments.erased_ids.marked(documents)
            row = packs(first.scoring, ids[0], _only(wanted, unit, documents))
        lacking = [None if done else id_ for id_, done in zip(ids, has, strict=True)]
        return addressed(row, numbers, lacking, {"read_s": read_s, "text_s": time.perf_counter() - started})


def _only(wanted: Chosen | None, unit: Unit, documents: pa.Table) -> pa.Table:
    if wanted is None:
        return documents
    if len(wanted) != len(documents):
        raise StorageError(
            f"{unit.file.uri}: {len(wanted):,} documents when read first, and {len(documents):,} when read again; "
            "run again"
        )
    return documents.filter(pa.array(wanted))


def timed(items: Iterable[Awaited]) -> Iterator[tuple[Awaited, float]]:
    """Gives each item with the seconds that it took to come."""
    started = time.perf_counter()
    for item in items:
        yield item, time.perf_counter() - started
        started = time.perf_counter()


@cache  # once per worker process: Ray runs many tasks in one
def _packer(storage: Storage, scoring: Scoring) -> Packer:
    folder = CheckpointFolder.open(storage.fetch_folder(scoring.checkpoint_folder))
    return scoring.packer(Tokenizer.open(folder.path))


@cache
def never_unpickle() -> None:
    """Takes back a column type that ray.data teaches Arrow: its values are unpickled, and any file may name it."""
    with contextlib.suppress(KeyError):  # where ray.data was not imported
        pa.unregister_extension_type("ray.data.arrow_pickled_object")
