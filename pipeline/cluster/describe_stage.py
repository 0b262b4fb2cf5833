"""CPU task: units that are read in one pass -> what their documents are, kept in the scratch; keys of their texts."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.cluster.read_stage import never_unpickle
from pipeline.corpus.isolated_reading import IsolatedReading
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import read_pass
from pipeline.planning.shared_reading import SharedPass, TableWork
from pipeline.storage.objects import Storage
from pipeline.tables.content_index import Keys, content_keys
from pipeline.tables.scratch import Scratch
from pipeline.text.records import records_of


class Described(NamedTuple):
    """A unit's documents, in one table. `keys`: of the texts that can be labelled; `readable`: of each, whether so."""

    table: int
    unit: Unit
    keys: Keys
    readable: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DescribeStage:
    """Reads units without tokenizing them; called with a pass, it describes its units that have no fragment.

    Marks, and isolated processes where a mark was left, are those of the read stage.
    """

    storage: Storage
    tables: tuple[TableWork, ...]

    def __call__(self, work: SharedPass) -> list[Described]:
        """Stores in each table what the documents of its units are. Raises what `streams.read_pass` raises."""
        never_unpickle()
        with contextlib.ExitStack() as stack:
            before = [stack.enter_context(self.tables[share.table].read_attempt(share)) for share in work.shares]
            if not any(before):
                return list(self._described(work, read_pass(self.storage, work.units)))
            reading = stack.enter_context(contextlib.closing(IsolatedReading(self.storage)))
            return list(self._described(work, reading.read_pass(work.units)))

    def _described(self, work: SharedPass, documents_of: Iterator[tuple[Unit, pa.Table]]) -> Iterator[Described]:
        parts = 0
        finders = [(share, share.finder()) for share in work.shares]
        for read, documents in documents_of:
            parts += 1
            for share, find in finders:
                fragments, unit = self.tables[share.table].fragments, find(read.slice)
                if unit and not (share.stream and fragments.has(unit.id(fragments.scoring_key))):
                    yield self._describe(share.table, unit, documents)
        for share in work.shares:
            if stream := share.stream:
                self.tables[share.table].stream_lengths.write(stream.stream_id, parts)

    def _describe(self, table: int, unit: Unit, documents: pa.Table) -> Described:
        fragments = self.tables[table].fragments
        records = records_of(fragments.erased_ids.marked(documents))
        Scratch(fragments).write_documents(unit.id(fragments.scoring_key), records)
        keys = content_keys(records["content_sha256"].drop_null().to_pylist())
        return Described(table, unit, keys, records["reason"].is_null().to_numpy())
