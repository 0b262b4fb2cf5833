"""Fragments: one Parquet object with a unit's results. The unit is finished if and only if that exists.

    <table>/_units/<scoring key>/<xx>/<unit id>.parquet

A fragment is put if absent, in one PUT. Its bytes are a function of the unit, so whoever writes it second wrote the
same. `rookery erase` alone replaces one, by the same without the rows of erased documents (erasure.py). Until it has
come to them all, such rows are left out wherever fragments are read, so that nobody has to know which it came to.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import DOCUMENT_RECORD, append_carried, fragment_schema, with_carried
from pipeline.storage.objects import TRANSFERS, Storage
from pipeline.tables.erased_ids import (
    NOTHING_ERASED,
    ErasedIds,
    ErasedLists,
    Erasures,
    erased_ids,
    without_marked,
)
from pipeline.tables.repeatable_parquet import parquet_bytes, read_parquet
from pipeline.tables.unit_ids import NO_IDS, UNIT_ID_DIGITS, UnitIdSet

LIST_REPLY_OBJECTS = 1000  # objects that stores list in one reply
NOT_FINITE = {
    "stage": "predict",
    "reason": "not_finite",
    "message": "a logit is not a finite number; try compute.dtype fp32, or check the checkpoint",
}


class FragmentListing(NamedTuple):
    """One listing of a scoring key's folder."""

    finished: UnitIdSet  # ids of the units that have a fragment
    others: list[str]  # URIs of what lies beside the fragments: see attempts.py and heartbeats.py
    size: int  # of the fragments, in bytes


@dataclass(frozen=True, slots=True)
class Fragments:
    """The finished units of one scoring key in one table."""

    storage: Storage
    table_uri: str
    scoring_key: str
    output: pa.Field  # the task's column of a fragment
    erased: ErasedLists = NOTHING_ERASED  # of documents whose rows are left out

    @property
    def folder(self) -> str:
        return f"{self.table_uri.rstrip('/')}/_units/{self.scoring_key}"

    @property
    def erased_ids(self) -> ErasedIds:
        """The ids on the lists, which this process reads once."""
        return erased_ids(Erasures(self.storage, self.table_uri), self.erased)

    def uri(self, unit: str) -> str:
        # two characters of the digest spread the keys over 256 prefixes, which stores throttle one by one
        return f"{self.folder}/{unit[:2]}/{unit}.parquet"

    def listing(self, expected: int = 0) -> FragmentListing:
        """Lists what the folder holds; nothing is read.

        Args:
            expected: about how many fragments there are to find; many are listed by several requests at a time.
        """
        if expected <= LIST_REPLY_OBJECTS:
            return self._listed(self.folder)
        with ThreadPoolExecutor(TRANSFERS) as pool:
            listings = list(pool.map(self._listed, self.storage.folders_in(self.folder)))
        finished = UnitIdSet(np.concatenate([NO_IDS, *(listing.finished.array for listing in listings)]))
        others = [uri for listing in listings for uri in listing.others]
        return FragmentListing(finished, others, sum(listing.size for listing in listings))

    def finished(self, expected: int = 0) -> UnitIdSet:
        """Lists the ids of the units that have a fragment; `expected` is about how many."""
        return self.listing(expected).finished

    def _listed(self, folder: str) -> FragmentListing:
        finished, others, size = [], [], 0
        for file in self.storage.find(folder):
            name = file.uri.rpartition("/")[2]
            if name.endswith(".parquet"):
                finished.append(name.removesuffix(".parquet"))
                size += file.size
            else:
                others.append(file.uri)
        units = UnitIdSet.of(id_ for id_ in finished if len(id_) <= UNIT_ID_DIGITS)  # and not what others put there
        return FragmentListing(units, others, size)

    def has(self, unit: str) -> bool:
        """Tells whether a unit has its fragment by now."""
        return self.storage.stat(self.uri(unit)) is not None

    def write(self, unit: str, fragment: pa.Table) -> bool:
        """Writes a unit's fragment. False where another attempt wrote other bytes first; its fragment stands."""
        return self.storage.put_if_absent(self.uri(unit), parquet_bytes(fragment))

    def read(self, units: list[str]) -> list[pa.Table]:
        """Reads the fragments of units, in their order. Raises FileNotFoundError."""
        tables = (self.erased_ids.without_erased(read_parquet(blob)) for blob in self._blobs(units))
        return [table.cast(self.schema_of(table).with_metadata(table.schema.metadata)) for table in tables]

    def schema_of(self, rows: pa.Table) -> pa.Schema:
        """Gives the schema of a fragment, with CARRIED if these rows of one have it."""
        return with_carried(fragment_schema(self.output), rows.schema)

    def read_columns(self, units: list[str], columns: list[str]) -> list[pa.Table]:
        """Reads some columns of units' fragments, in their order, and decodes no other. Raises FileNotFoundError."""
        with_ids = [*columns, *({"id"} - {*columns})]
        tables = [self.erased_ids.without_erased(read_parquet(blob, with_ids)) for blob in self._blobs(units)]
        return tables if "id" in columns else [table.drop_columns(["id"]) for table in tables]

    def _blobs(self, units: list[str]) -> list[bytes]:
        return self.storage.read_all([self.uri(unit) for unit in units])


def fragment(documents: pa.Table, outputs: pa.Array, output: pa.Field) -> pa.Table:
    """Joins document records and what the task made of their logits to a fragment, one row per document.

    A document without an error and without outputs had a logit that is not a finite number, and becomes an error. One
    that was erased (`ErasedIds.marked`) is only counted.
    """
    rows = []
    plain = pa.schema(list(DOCUMENT_RECORD))
    for record, has_outputs in zip(documents.select(plain.names).to_pylist(), outputs.is_valid(), strict=True):
        rows.append(record if record["reason"] or has_outputs.as_py() else record | NOT_FINITE)
    described = pa.Table.from_pylist(rows, schema=plain)
    outputs = pc.if_else(pc.is_null(described["reason"]), outputs, pa.scalar(None, output.type))
    return without_marked(append_carried(described.append_column(output, outputs), documents))
