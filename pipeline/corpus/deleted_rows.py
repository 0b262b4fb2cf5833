"""Rows of a lake table's data files that were deleted and still lie in them: where their numbers are, and reading them.

What is planned holds where they are, not which: a file's are read by whoever reads the file. Each kind gives them as a
roaring bitmap of row numbers, which is small however many they are.

Delta's deletion vectors and those that Iceberg keeps in Puffin files are one format: a bitmap behind a magic number.
"""

import base64
import hashlib
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import CorpusError, SourceChangedError
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage

if TYPE_CHECKING:
    from pyroaring import BitMap64

BITMAP_MAGIC = (1681511377).to_bytes(4, "little")
UUID_CHARACTERS = 20  # of a deletion vector's name in a log, which are the last; before them is a folder
Z85 = bytes.maketrans(
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#",
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~",  # base64.b85decode's
)


class Deletes:
    """Where numbers of rows that were deleted are."""

    __slots__ = ()

    @property
    def form(self) -> tuple[object, ...]:
        """What of it tells two apart."""
        raise NotImplementedError

    def read(self, storage: Storage) -> "BitMap64":
        """Read the numbers. Raises SourceChangedError where they are gone, CorpusError where they are damaged."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PositionDeletes(Deletes):
    """Iceberg's: a Parquet file of data files' paths and row numbers."""

    stored: StoredFile
    path: str  # the data file's, as Iceberg spells it

    @property
    def form(self) -> tuple[object, ...]:
        return "positions", self.stored.uri, self.stored.size

    def read(self, storage: Storage) -> "BitMap64":
        import pyarrow.dataset as pa_dataset  # imports pandas, which takes half a second
        from pyroaring import BitMap64

        numbers = BitMap64()
        parquet = pa_dataset.ParquetFileFormat()
        with storage.open(self.stored) as file:
            try:
                fragment = parquet.make_fragment(pa.PythonFile(file, "r"))
                for batch in fragment.to_batches(columns=["pos"], filter=pc.field("file_path") == self.path):
                    numbers.update(batch.column("pos").to_numpy())
            except (pa.ArrowInvalid, KeyError) as error:
                raise CorpusError(f"{self.stored.uri}: not readable as position deletes ({error})") from error
        return numbers


@dataclass(frozen=True, slots=True)
class PuffinDeletes(Deletes):
    """Iceberg's: deletion vectors of several data files in one Puffin file."""

    stored: StoredFile
    path: str  # the data file's, as Iceberg spells it

    @property
    def form(self) -> tuple[object, ...]:
        return "puffin", self.stored.uri, self.stored.size

    def read(self, storage: Storage) -> "BitMap64":
        from pyiceberg.table.deletion_vector import deletion_vectors_from_puffin_file
        from pyiceberg.table.puffin import PuffinFile
        from pyroaring import BitMap64

        numbers = BitMap64()
        with storage.open(self.stored) as file:
            try:
                for vector in deletion_vectors_from_puffin_file(PuffinFile(file.read())):
                    if vector.referenced_data_file == self.path:
                        numbers.update(vector.to_vector().to_numpy())
            except ValueError as error:
                raise CorpusError(f"{self.stored.uri}: not readable as a Puffin file ({error})") from error
        return numbers


@dataclass(frozen=True, slots=True)
class DeltaVector(Deletes):
    """Delta's: one file's deletion vector, in a file or, without a URI, in the log itself."""

    uri: str | None
    offset: int
    inline: bytes
    size: int
    cardinality: int

    @classmethod
    def of_log(cls, root: str, entry: dict[str, Any]) -> "DeltaVector":
        """The one that a log describes, of the table at `root`. Raises CorpusError for a kind that nobody knows."""
        kind, place = entry["storageType"], entry["pathOrInlineDv"]
        size, cardinality, offset = entry["sizeInBytes"], entry["cardinality"], entry["offset"] or 0
        if kind == "i":
            return cls(None, 0, _z85(place), size, cardinality)
        if kind == "p":
            return cls(unquote(place), offset, b"", size, cardinality)
        if kind != "u":
            raise CorpusError(f"{root}: a deletion vector of kind {kind!r}; expected u, p or i: export its rows")
        folder, name = place[:-UUID_CHARACTERS], uuid.UUID(bytes=_z85(place[-UUID_CHARACTERS:]))
        path = f"{folder}/" if folder else ""
        return cls(f"{root}/{path}deletion_vector_{name}.bin", offset, b"", size, cardinality)

    @property
    def form(self) -> tuple[object, ...]:
        return "vector", self.uri, self.offset, self.inline.hex(), self.size

    def read(self, storage: Storage) -> "BitMap64":
        from pyroaring import BitMap64

        data = self.inline[: self.size] if self.uri is None else self._stored(storage, self.uri)
        try:
            numbers = (
                BitMap64.deserialize(data.removeprefix(BITMAP_MAGIC)) if data.startswith(BITMAP_MAGIC) else BitMap64()
            )
        except ValueError as error:
            raise CorpusError(f"{self.uri}: not readable as a deletion vector ({error})") from error
        if len(numbers) != self.cardinality:
            raise CorpusError(
                f"{self.uri or 'a deletion vector in the log'}: has {len(numbers):,} rows, and the table's log says "
                f"{self.cardinality:,}; repair the table, or export its rows"
            )
        return numbers

    def _stored(self, storage: Storage, uri: str) -> bytes:
        """Its length and its check sum are around it."""
        try:
            data = storage.read_range(uri, self.offset, self.offset + self.size + 8)
        except FileNotFoundError as error:
            raise SourceChangedError(f"{uri} is gone: it has deleted rows of a table's version; run again") from error
        vector, check_sum = data[4:-4], data[-4:]
        if zlib.crc32(vector) != int.from_bytes(check_sum, "big"):
            raise CorpusError(f"{uri}: a deletion vector that is damaged; repair the table, or export its rows")
        return vector


def _z85(text: str) -> bytes:
    return base64.b85decode(text.encode().translate(Z85))


def read_deleted(storage: Storage, deletes: Iterable[Deletes]) -> "BitMap64":
    """Numbers of a file's deleted rows, of all its deletes. Raises what `Deletes.read` raises."""
    from pyroaring import BitMap64

    numbers = BitMap64()
    for some in deletes:
        numbers |= some.read(storage)
    return numbers


def numbers_digest(numbers: "BitMap64") -> str:
    """Digest of which rows they are, wherever and however they are kept."""
    return hashlib.sha256(np.asarray(numbers.to_array(), "<u8").tobytes()).hexdigest()
