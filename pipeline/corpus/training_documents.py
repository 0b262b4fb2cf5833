"""Which documents a checkpoint was trained and validated on: digests of their texts, in a file of its folder.

By content, so that a corpus that was renamed, sorted or split anew since is known again. Texts that a
masked-language-model phase read are not among them: it saw no labels, so it can't know them by heart, and as little is
known of the text that any published encoder has read.

It decides no score and no label: no digest of a checkpoint includes it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import CheckpointError

TRAINING_DOCUMENTS_NAME = "training_documents.parquet"
DIGEST = pa.binary(16)
COLUMNS = pa.schema([pa.field("digest", DIGEST, nullable=False), pa.field("split", pa.string(), nullable=False)])
COMPLETE = b"complete"  # a key of the file's metadata

Use = Literal["train", "validation"]


def content_digest(text: str) -> bytes:
    """The first half of the SHA-256 of a text, 16 bytes."""
    return hashlib.sha256(text.encode()).digest()[:16]


def digests(end_to_end: bytes | bytearray) -> pa.Array:
    """Digests that lie end to end, as an Arrow array."""
    buffer = pa.py_buffer(bytes(end_to_end))
    return pa.Array.from_buffers(DIGEST, len(end_to_end) // 16, [None, buffer])


@dataclass(frozen=True, slots=True)
class TrainingDocuments:
    """Digests by what their documents were for; none is there twice.

    Not `complete`: training went on from a checkpoint that doesn't say what it was trained on.
    """

    by_use: Mapping[Use, pa.Array]
    complete: bool = True

    @classmethod
    def of(cls, train: pa.Array, validation: pa.Array, *, complete: bool) -> Self:
        """What was trained on counts as that, whatever else it was for."""
        trained = pc.unique(train)
        others = pc.unique(validation)
        others = others.filter(pc.invert(pc.is_in(others, trained)))
        return cls({"train": trained, "validation": others}, complete)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Of a checkpoint's folder; None where it doesn't say. Raises CheckpointError."""
        path = folder / TRAINING_DOCUMENTS_NAME
        if not path.exists():
            return None
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise CheckpointError(f"{path}: can't be read ({error}); fetch the file again") from error
        if table.schema.names != COLUMNS.names or table.schema.types != COLUMNS.types:
            raise CheckpointError(
                f"{path}: expected the columns digest (16 bytes) and split (string), found "
                f"{table.schema.to_string(show_schema_metadata=False)!r}; fetch the file again, or remove it"
            )
        by_use: dict[Use, pa.Array] = {}
        uses: tuple[Use, ...] = ("train", "validation")
        for use in uses:
            by_use[use] = table.filter(pc.equal(table["split"], use))["digest"].combine_chunks()
        metadata = table.schema.metadata or {}
        return cls(by_use, metadata.get(COMPLETE) != b"false")

    def write(self, path: Path) -> None:
        """Sorted by digest; equal documents give equal bytes."""
        metadata = {COMPLETE: b"true" if self.complete else b"false"}
        tables = [
            pa.Table.from_arrays([held, pa.repeat(use, len(held))], schema=COLUMNS) for use, held in self.by_use.items()
        ]
        table = pa.concat_tables(tables).sort_by("digest").replace_schema_metadata(metadata)
        pq.write_table(table, path, use_dictionary=["split"], compression="zstd")

    def uses(self, documents: Iterable[bytes]) -> dict[bytes, Use]:
        """Those of some digests that are known, each with what its document was for."""
        wanted = digests(b"".join(documents))
        return {
            digest: use
            for use, held in self.by_use.items()
            for digest in wanted.filter(pc.is_in(wanted, held)).to_pylist()
        }
