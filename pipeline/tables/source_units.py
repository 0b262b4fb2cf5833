"""The units that a table is made of, as publishing needs them: in columns, 50 bytes and a URI each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, compress, islice
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.tables.unit_ids import IdArray, id_array
from pipeline.value_sequence import ValueSequence

MADE_AT_ONCE = 4096  # units
UNKNOWN = -1  # documents
BINARY = pa.large_binary()
Places = npt.NDArray[np.integer[Any]]  # of units, among all
PartitionValues = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """What the table needs to know of a planned unit."""

    id: str
    source_uri: str
    partitions: PartitionValues
    documents: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:  # in half the time of a dataclass's own: tasks are sent all of them
        return SourceUnit, (self.id, self.source_uri, self.partitions, self.documents)


@dataclass(frozen=True, slots=True, eq=False)
class SourceUnits(ValueSequence[SourceUnit]):
    """Units in their order. What is read of it is made anew.

    Attributes:
        ids: of the units.
        uris: of their files, each once, as UTF-8.
        files: of each unit its file's place among these.
        partition_values: what files have of them, each once.
        partitions: of each unit the place of its own.
        documents: of each unit; UNKNOWN where nobody knows.
    """

    ids: IdArray
    uris: pa.LargeBinaryArray
    files: npt.NDArray[np.int32]
    partition_values: list[PartitionValues]
    partitions: npt.NDArray[np.int32]
    documents: npt.NDArray[np.int64]

    @classmethod
    def of(cls, units: Iterable[SourceUnit]) -> Self:
        """Puts units into columns."""
        partitions: dict[PartitionValues, int] = {}
        blocks = [_block(some, partitions) for some in _in_blocks(units)] or [_block([], partitions)]
        ids, uris, starts, numbers, documents = zip(*blocks, strict=True)
        of_runs = pa.concat_arrays(uris)
        runs = np.cumsum(np.concatenate(starts), dtype=np.int32) - 1
        del blocks, uris, starts
        if len(np.unique(np.fromiter((hash(uri.as_py()) for uri in of_runs), np.int64))) < len(of_runs):
            files = of_runs.dictionary_encode()  # which takes several times their memory
            of_runs, runs = files.dictionary, files.indices.to_numpy()[runs]
        return cls(
            ids=np.concatenate(ids),
            uris=of_runs,
            files=runs,
            partition_values=list(partitions),
            partitions=np.concatenate(numbers),
            documents=np.concatenate(documents),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[SourceUnit]:
        for start in range(0, len(self), MADE_AT_ONCE):
            yield from self.take(np.arange(start, min(start + MADE_AT_ONCE, len(self))))

    @overload
    def __getitem__(self, index: int) -> SourceUnit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SourceUnit, ...]: ...
    def __getitem__(self, index: int | slice) -> SourceUnit | tuple[SourceUnit, ...]:
        places = np.arange(len(self))[index]
        return self.take(places) if isinstance(index, slice) else self.take(np.array([places]))[0]

    def take(self, places: Places) -> tuple[SourceUnit, ...]:
        """Gives the units at some places."""
        columns = zip(
            self.ids[places].tolist(),
            self.uris.take(pa.array(self.files[places])).to_pylist(),
            self.partitions[places].tolist(),
            self.documents[places].tolist(),
            strict=True,
        )
        return tuple(
            SourceUnit(id_.decode(), _text(uri), self.partition_values[number], None if n == UNKNOWN else n)
            for id_, uri, number, n in columns
        )

    def uri(self, file: int) -> str:
        """Gives the URI of the file at a place among `uris`."""
        return _text(self.uris[file].as_py())


def _in_blocks(units: Iterable[SourceUnit]) -> Iterator[list[SourceUnit]]:
    unread = iter(units)
    return iter(lambda: list(islice(unread, MADE_AT_ONCE)), [])


def _block(
    units: list[SourceUnit], partitions: dict[PartitionValues, int]
) -> tuple[IdArray, pa.LargeBinaryArray, npt.NDArray[np.bool_], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Columns of some units, with the URI of the first of those of one file, and which these are.

    Adds to `partitions` those that are new, each with its number.
    """
    before = chain([None], (unit.source_uri for unit in units))
    starts = [unit.source_uri != uri for unit, uri in zip(units, before, strict=False)]
    documents = (UNKNOWN if unit.documents is None else unit.documents for unit in units)
    return (
        id_array(unit.id for unit in units),
        # a file's name may hold surrogates, which have no UTF-8
        pa.array([unit.source_uri.encode("utf-8", "surrogatepass") for unit in compress(units, starts)], BINARY),
        np.array(starts, bool),
        np.array([partitions.setdefault(unit.partitions, len(partitions)) for unit in units], np.int32),
        np.fromiter(documents, np.int64, len(units)),
    )


def _text(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogatepass")
