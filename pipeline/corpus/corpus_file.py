"""One input file, and what becomes of contents that are not what its format says."""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from pipeline.corpus.lake_file import LakeFile
from pipeline.errors import CorpusError
from pipeline.storage.listings import StoredFile
from pipeline.terms import FormatName

Compression = Literal["gzip", "zstd", "bzip2", "xz"]


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One input file, at the version that was listed."""

    stored: StoredFile
    format: FormatName
    compression: Compression | None
    partitions: tuple[tuple[str, str | None], ...]  # hive keys and values, in path order
    lake: LakeFile | None = None  # of a lake table's file: what the table says of it

    def __reduce__(self) -> tuple[Any, ...]:
        return CorpusFile, (self.stored, self.format, self.compression, self.partitions, self.lake)

    @property
    def uri(self) -> str:
        """Its URI, as the listing gave it."""
        return self.stored.uri

    def with_names_of(self, schema: pa.Schema) -> "CorpusFile":
        """The file with this schema, by which `stored_name` goes. Raises CorpusError where nothing tells the names."""
        return replace(self, lake=self.lake.with_names_of(schema)) if self.lake else self

    def stored_name(self, column: str) -> str | None:
        """What the file calls a column; None where its table has one by that name and the file does not."""
        return dict(self.lake.renamed).get(column, column) if self.lake else column


class MalformedContentsError(ValueError):
    """Contents that are not what their format says: behind them nobody can tell where a document begins."""


_DAMAGE = (
    pa.ArrowInvalid, pa.ArrowNotImplementedError, MalformedContentsError, zlib.error, lzma.LZMAError, EOFError, OSError,
)  # fmt: skip


@contextmanager
def damage_explained(file: CorpusFile) -> Iterator[None]:
    """Contents that are not what the format says become a CorpusError; what the store raises passes."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and not _tells_of_damage(error):
            raise
        raise CorpusError(
            f"{file.uri}: not readable as {file.compression or file.format} ({error}); "
            "repair it or leave it out of corpus.uris"
        ) from error


def _tells_of_damage(error: OSError) -> bool:
    # Arrow's have neither a number nor a class of their own; a store's have one of the two
    return error.errno is None and type(error) in (OSError, gzip.BadGzipFile)
