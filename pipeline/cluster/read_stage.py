"""CPU task: units that are read in one pass -> PACKS.

Torch is not imported here: many of these run beside one encoder.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.corpus.isolated_reading import IsolatedReading
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import Pass, read_pass
from pipeline.errors import StorageError
from pipeline.planning.scoring import Scoring
from pipeline.schema import packs_of_finished_unit
from pipeline.storage.objects import Storage
from pipeline.tables.attempts import Attempts
from pipeline.tables.fragments import Fragments
from pipeline.tables.stream_lengths import StreamLengths
from pipeline.text.isolated_packer import IsolatedPacker
from pipeline.text.packer import Packer
from pipeline.text.tokenizer import Tokenizer

Chosen = npt.NDArray[np.bool_]  # of each document of a unit, in its order
Wanted = Mapping[str, Chosen]  # by the id of the unit


@dataclass(frozen=True, slots=True)
class ReadStage:
    """Reads, tokenizes and packs units, one after the other.

    A pass that was begun before and is not done may be what ended that attempt, so it is read in isolated processes.
    """

    storage: Storage
    scoring: Scoring
    fragments: Fragments
    stream_lengths: StreamLengths
    run: str = ""

    def __call__(self, units: Pass, wanted: Wanted) -> Iterator[pa.Table]:
        """Yields a PACKS row for each unit, in order, done by then or not: Ray counts a repeated task's blocks.

        `wanted`: of a unit that is not computed whole, which of its documents are.
        """
        never_unpickle()
        attempts = Attempts(self.fragments, "read", self.run)
        with attempts.attempt(units[0].id(self.scoring.key)) as before:
            if before:
                yield from self._read_isolated(units, wanted)
            else:
                packer = _packer(self.storage, self.scoring)
                yield from self._read(units, wanted, read_pass(self.storage, units), packer.packs)

    def _read_isolated(self, units: Pass, wanted: Wanted) -> Iterator[pa.Table]:
        reading = IsolatedReading(self.storage)
        packer = IsolatedPacker(_packer, self.storage, self.scoring)
        with contextlib.closing(reading), contextlib.closing(packer):
            yield from self._read(units, wanted, reading.read_pass(units), packer.packs)

    def _read(
        self,
        units: Pass,
        wanted: Wanted,
        documents_of: Iterator[tuple[Unit, pa.Table]],
        packs: Callable[[str, pa.Table], pa.Table],
    ) -> Iterator[pa.Table]:
        parts = 0
        is_stream = units[0].slice.is_stream
        for unit, documents in documents_of:
            id_ = unit.id(self.scoring.key)
            if (is_stream or len(units) > 1) and self.fragments.has(id_):
                yield packs_of_finished_unit(id_)
            else:
                documents = self.fragments.erased_ids.marked(documents)
                yield packs(id_, _only(wanted.get(id_), unit, documents))
            parts += 1
        if is_stream:
            self.stream_lengths.write(units[0].stream_id, parts)


def _only(wanted: Chosen | None, unit: Unit, documents: pa.Table) -> pa.Table:
    if wanted is None:
        return documents
    if len(wanted) != len(documents):
        raise StorageError(
            f"{unit.file.uri}: {len(wanted):,} documents when read first, and {len(documents):,} when read again; "
            "run again"
        )
    return documents.filter(pa.array(wanted))


@cache  # once per worker process: Ray runs many tasks in one
def _packer(storage: Storage, scoring: Scoring) -> Packer:
    folder = CheckpointFolder.open(storage.fetch_folder(scoring.checkpoint_uri))
    return scoring.packer(Tokenizer.open(folder.path), folder.encoder.block_size)


@cache
def never_unpickle() -> None:
    """Takes back a column type that ray.data teaches Arrow: its values are unpickled, and any file may name it."""
    with contextlib.suppress(KeyError):  # where ray.data was not imported
        pa.unregister_extension_type("ray.data.arrow_pickled_object")
