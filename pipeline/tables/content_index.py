"""Which texts have scores in fragments that no unit of the corpus names any more: an index, never the truth.

    <table>/_index/<scoring key>/<digest of the units>.parquet    key: the first 64 bits of a text's digest, ascending
                                                                  unit: which of the units in the footer has its scores

A file that is edited, renamed or compacted becomes other units, and its documents' scores lie in the fragments of the
old ones. The index finds those by what a document says, whatever file it lies in now. It is derived from fragments:
what it lacks is added before it is asked, so that it may be lost, and what it names is compared with the whole digest
before it is used, so that it may be wrong.

A file of it has INDEXED_UNITS at most (4,096 units of 1,000 documents: 40 MB) and is written by one task; a run's
driver looks into one after the other, so that its memory is bounded however many there are. 10^9 documents are 250
files, 10 GB. Measured: 0.1 s a file for 10,000 texts that are looked up at once, 0.3 s for 10,000,000, in 1.2 GB.
"""

import contextlib
import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import SourceChangedError
from pipeline.identity import digest
from pipeline.mapped import Mapped
from pipeline.storage.listings import StoredFile
from pipeline.tables.failures import transfer_batches
from pipeline.tables.fragments import Fragments
from pipeline.tables.repeatable_parquet import parquet_bytes

INDEX_VERSION = 1  # raise it when the same fragments give another index
INDEXED_UNITS = 4096  # of one file
KEY_DIGITS = 16  # hex digits of a text's digest: 64 bits
ABSENT = -1
Keys = npt.NDArray[np.int64]


class Holders(NamedTuple):
    """Which unit's fragment has the scores of each of some texts."""

    numbers: npt.NDArray[np.int32]  # of each key: of `units`; ABSENT where there is none
    units: list[str]


@dataclass(frozen=True, slots=True)
class ContentIndex:
    """The index of one scoring key's fragments in one table."""

    fragments: Fragments

    @property
    def folder(self) -> str:
        """Where its files are."""
        return f"{self.fragments.table_uri.rstrip('/')}/_index/{self.fragments.scoring_key}"

    def extend(self, units: Iterable[str], mapped: Mapped = map) -> None:
        """Adds those of the units, all of which have fragments, that it does not cover; `mapped` spreads the work."""
        missing = sorted(set(units) - self.covered())
        parts = (missing[start : start + INDEXED_UNITS] for start in range(0, len(missing), INDEXED_UNITS))
        for _ in mapped(self.write, parts):
            pass

    def covered(self) -> set[str]:
        """Reads which units it knows, from the footers of its files."""
        return {unit for file in self._files() for unit in self._units(file)}

    def write(self, units: list[str]) -> None:
        """Writes one file about units that have fragments. Raises FileNotFoundError."""
        keys, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        for number, of_unit in enumerate(self._scored(units)):
            keys.append(content_keys(of_unit))
            numbers.append(np.full(len(of_unit), number, np.int32))
        rows = pa.table({"key": np.concatenate(keys), "unit": np.concatenate(numbers)})
        rows = rows.sort_by([("key", "ascending"), ("unit", "ascending")])
        data = parquet_bytes(rows.replace_schema_metadata({"units": json.dumps(units)}))
        name = digest("content_index/1", INDEX_VERSION, units)[:32]
        self.fragments.storage.put_if_absent(f"{self.folder}/{name}.parquet", data)

    def look_up(self, keys: Keys, existing: Container[str]) -> Holders:
        """Finds a unit for each key, of those that are `existing`. `keys`: ascending, each once."""
        found = Holders(np.full(len(keys), ABSENT, np.int32), [])
        for file in self._files() if len(keys) else []:
            rows = pq.ParquetFile(pa.BufferReader(self.fragments.storage.read(file.uri)))
            units = _units_of(rows.metadata)
            table = rows.read()
            of_key = table["unit"].to_numpy()
            exists = np.array([unit in existing for unit in units], bool)[of_key]
            at, indexed = _common(keys, table["key"].to_numpy()[exists])
            new = found.numbers[at] == ABSENT
            found.numbers[at[new]] = of_key[exists][indexed[new]] + len(found.units)
            found.units.extend(units)
        return found

    def remove(self, units: Container[str]) -> list[StoredFile]:
        """Removes the files that name one of some units, whose fragments are to be deleted; gives which these were.

        What else they say is added again when somebody looks for it.
        """
        removed = []
        for file in self._files():
            with contextlib.suppress(
                FileNotFoundError, SourceChangedError
            ):  # somebody else removes it at the same time
                if any(unit in units for unit in self._units(file)):
                    self.fragments.storage.delete(file.uri)
                    removed.append(file)
        return removed

    def _files(self) -> list[StoredFile]:
        return [file for file in self.fragments.storage.find(self.folder) if file.uri.endswith(".parquet")]

    def _units(self, file: StoredFile) -> list[str]:
        with self.fragments.storage.open(file) as opened:
            return _units_of(pq.ParquetFile(opened).metadata)

    def _scored(self, units: list[str]) -> Iterator[list[str]]:
        """Of each unit the digests of the texts that have scores."""
        for some in transfer_batches(units):
            for rows in self.fragments.read_columns(some, ["content_sha256", "reason"]):
                yield rows.filter(rows["reason"].is_null())["content_sha256"].to_pylist()


def content_keys(digests: list[str]) -> Keys:
    """Gives the key of each digest of a text, 64 hex digits: its first 64 bits."""
    return np.frombuffer(bytes.fromhex("".join(digest[:KEY_DIGITS] for digest in digests)), ">i8").astype(np.int64)


def _units_of(footer: pq.FileMetaData) -> list[str]:
    units: list[str] = json.loads(footer.metadata[b"units"])
    return units


def _common(some: Keys, others: Keys) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pairs of places at which two ascending arrays hold the same; `some` has each value once."""
    if len(some) > len(others):  # few are looked for among many
        in_others, at = _common_of_few(others, some)
        return at, in_others
    return _common_of_few(some, others)


def _common_of_few(few: Keys, many: Keys) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    at = np.searchsorted(many, few)
    is_there = at < len(many)
    is_there[is_there] = many[at[is_there]] == few[is_there]
    return np.flatnonzero(is_there), at[is_there]
