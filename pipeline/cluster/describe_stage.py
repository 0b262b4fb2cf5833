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
from pipeline.corpus.streams import Pass, read_pass
from pipeline.storage.objects import Storage
from pipeline.tables.attempts import Attempts
from pipeline.tables.content_index import Keys, content_keys
from pipeline.tables.fragments import Fragments
from pipeline.tables.scratch import Scratch
from pipeline.tables.stream_lengths import StreamLengths
from pipeline.text.records import records_of


class Described(NamedTuple):
    """A unit's documents. `keys`: of the texts that can be labelled; `readable`: of each document, whether it can."""

    unit: Unit
    keys: Keys
    readable: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DescribeStage:
    """Reads units without tokenizing them; called with a pass, it describes its units that have no fragment.

    Marks, and isolated processes where a mark was left, are those of the read stage.
    """

    storage: Storage
    fragments: Fragments
    stream_lengths: StreamLengths
    run: str

    def __call__(self, units: Pass) -> list[Described]:
        """Stores what the documents of each unit are. Raises what `streams.read_pass` raises."""
        never_unpickle()
        attempts = Attempts(self.fragments, "read", self.run)
        with attempts.attempt(units[0].id(self.fragments.scoring_key)) as before:
            if not before:
                return list(self._described(units, read_pass(self.storage, units)))
            with contextlib.closing(IsolatedReading(self.storage)) as reading:
                return list(self._described(units, reading.read_pass(units)))

    def _described(self, units: Pass, documents_of: Iterator[tuple[Unit, pa.Table]]) -> Iterator[Described]:
        parts = 0
        is_stream = units[0].slice.is_stream
        for unit, documents in documents_of:
            parts += 1
            if not (is_stream and self.fragments.has(unit.id(self.fragments.scoring_key))):
                yield self._describe(unit, documents)
        if is_stream:
            self.stream_lengths.write(units[0].stream_id, parts)

    def _describe(self, unit: Unit, documents: pa.Table) -> Described:
        records = records_of(self.fragments.erased_ids.marked(documents))
        Scratch(self.fragments).write_documents(unit.id(self.fragments.scoring_key), records)
        keys = content_keys(records["content_sha256"].drop_null().to_pylist())
        return Described(unit, keys, records["reason"].is_null().to_numpy())
