"""A process that feeds: reads the sample, tokenizes, cuts and packs. It imports no torch, as the job's own don't."""

import pyarrow as pa
import pyarrow.dataset

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.schema import DOCUMENTS
from pipeline.text.packer import Packer
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy

_packer: Packer | None = None


def load_packer(policy: WindowPolicy, budget: int, block_size: int) -> None:
    """Loads what a feeding process needs for all its units."""
    global _packer
    _packer = Packer(Tokenizer.open(CHECKPOINT), policy, budget, block_size)


def packs_of_unit(documents: int) -> pa.Table:
    """Reads documents of the sample, and turns them into a row of PACKS."""
    assert _packer is not None
    return _packer.packs("unit", _read(documents))


def _read(count: int) -> pa.Table:
    rows = pyarrow.dataset.dataset(CORPUS, format="parquet").head(count, columns=["id", "text"])
    no_error = pa.nulls(len(rows), pa.string())
    columns = [rows["id"], pa.array(range(len(rows)), pa.int64()), rows["text"], no_error, no_error, no_error]
    return pa.Table.from_arrays(columns, schema=DOCUMENTS)
