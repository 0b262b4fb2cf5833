"""CPU task: a unit -> its PACKS. Torch is not imported here: many of these run beside one encoder."""

import contextlib
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from pipeline.bigbird.folder import CheckpointFolder
from pipeline.corpus.readers import read
from pipeline.corpus.units import Unit
from pipeline.dataflow.plan import Scoring
from pipeline.storage import Storage
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.units import Packer


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads, tokenizes and packs a unit."""

    storage: Storage
    scoring: Scoring

    def __call__(self, id_: str, unit: Unit) -> pa.Table:
        _never_unpickle()
        return _packer(self.storage, self.scoring).packs(id_, read(self.storage, unit))


@cache  # once per worker process: Ray runs many tasks in one
def _packer(storage: Storage, scoring: Scoring) -> Packer:
    folder = CheckpointFolder.open(storage.fetch_folder(scoring.checkpoint_uri))
    tokenizer = Tokenizer.load(folder.spiece, folder.tokenizer_json)
    return Packer(tokenizer, scoring.policy, scoring.token_budget, folder.encoder.block_size)


@cache
def _never_unpickle() -> None:
    """ray.data teaches Arrow a column type whose values are unpickled when they are looked at, and any file may name it."""
    with contextlib.suppress(KeyError):  # where ray.data was not imported
        pa.unregister_extension_type("ray.data.arrow_pickled_object")
