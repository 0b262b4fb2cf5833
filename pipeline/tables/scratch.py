"""What a run knows of units that it can't finish in one go: what their documents are, and rows that it computed.

    <table>/_units/documents/<xx>/<unit id>    a table of DOCUMENT_RECORD, without the texts
    <table>/_units/computed/<xx>/<unit id>     rows of the unit's fragment, of the documents that had no scores anywhere

Both are functions of the unit and of what else is in the table, put if absent, and removed when the unit has its
fragment. What a killed run leaves, the next one goes on from.
"""

import contextlib
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from pipeline.schema import DOCUMENT_RECORD, with_carried
from pipeline.storage.objects import TRANSFERS
from pipeline.tables.fragments import Fragments
from pipeline.tables.repeatable_parquet import parquet_bytes, read_parquet

ScratchKind = Literal["documents", "computed"]


@dataclass(frozen=True, slots=True)
class Scratch:
    """The unfinished units of one scoring key in one table; a unit's id covers the key."""

    fragments: Fragments

    def uri(self, kind: ScratchKind, unit: str = "") -> str:
        """Names an object of a unit, or without one the folder of all."""
        folder = f"{self.fragments.table_uri.rstrip('/')}/_units/{kind}"
        return f"{folder}/{unit[:2]}/{unit}" if unit else folder

    def write_documents(self, unit: str, records: pa.Table) -> None:
        """Stores what a unit's documents are."""
        self.fragments.storage.put_if_absent(self.uri("documents", unit), parquet_bytes(records))

    def documents(self, unit: str) -> pa.Table:
        """Reads what a unit's documents are. Raises FileNotFoundError."""
        blob = self.fragments.storage.read(self.uri("documents", unit))
        records = read_parquet(blob)
        return records.cast(with_carried(DOCUMENT_RECORD, records.schema))

    def write_computed(self, unit: str, rows: pa.Table) -> None:
        """Stores rows of a unit's fragment."""
        self.fragments.storage.put_if_absent(self.uri("computed", unit), parquet_bytes(rows))

    def computed(self, unit: str) -> pa.Table | None:
        """Reads rows of a unit's fragment, if some were computed."""
        try:
            blob = self.fragments.storage.read(self.uri("computed", unit))
        except FileNotFoundError:
            return None
        rows = read_parquet(blob)
        return rows.cast(self.fragments.schema_of(rows))

    def units(self, kind: ScratchKind) -> set[str]:
        """Lists the units that have an object of this kind."""
        return {file.uri.rpartition("/")[2] for file in self.fragments.storage.find(self.uri(kind))}

    def sweep(self, finished: Container[str]) -> None:
        """Removes what a run that was ended has left of units that have their fragments."""
        self.remove([unit for unit in self.units("documents") | self.units("computed") if unit in finished])

    def remove(self, units: list[str]) -> None:
        """Removes all about units."""
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(self._remove, units))

    def _remove(self, unit: str) -> None:
        kinds: tuple[ScratchKind, ...] = ("documents", "computed")
        for kind in kinds:
            with contextlib.suppress(FileNotFoundError):
                self.fragments.storage.delete(self.uri(kind, unit))
