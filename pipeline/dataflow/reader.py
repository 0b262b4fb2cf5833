"""CPU task: units that are read in one pass -> PACKS. Torch is not imported here: many of these run beside one encoder."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from pipeline.bigbird.folder import CheckpointFolder
from pipeline.corpus.passes import Pass, read_pass
from pipeline.corpus.units import Stream
from pipeline.dataflow.plan import Scoring
from pipeline.schema import done_already
from pipeline.storage import Storage
from pipeline.tables.cuts import Cuts
from pipeline.tables.fragments import Fragments
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.units import Packer


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads, tokenizes and packs units, one after the other."""

    storage: Storage
    scoring: Scoring
    fragments: Fragments
    cuts: Cuts

    def __call__(self, units: Pass) -> Iterator[pa.Table]:
        """One row for each unit, in order, whatever is done by then: Ray tells a repeated task's blocks by their number."""
        _never_unpickle()
        packer, parts = _packer(self.storage, self.scoring), 0
        is_stream = isinstance(units[0].slice, Stream)
        for unit, documents in read_pass(self.storage, units):
            id_ = unit.id(self.scoring.key)
            if (is_stream or len(units) > 1) and self.fragments.has(id_):
                yield done_already(id_)
            else:
                yield packer.packs(id_, documents)
            parts += 1
        if is_stream:
            self.cuts.write(units[0].id(""), parts)


@cache  # once per worker process: Ray runs many tasks in one
def _packer(storage: Storage, scoring: Scoring) -> Packer:
    folder = CheckpointFolder.open(storage.fetch_folder(scoring.checkpoint_uri))
    tokenizer = Tokenizer.load(folder.spiece, folder.tokenizer_json)
    return Packer(
        tokenizer, scoring.policy, scoring.token_budget, folder.encoder.block_size, scoring.located, scoring.questions
    )  # fmt: skip


@cache
def _never_unpickle() -> None:
    """ray.data teaches Arrow a column type whose values are unpickled when they are looked at, and any file may name it."""
    with contextlib.suppress(KeyError):  # where ray.data was not imported
        pa.unregister_extension_type("ray.data.arrow_pickled_object")
