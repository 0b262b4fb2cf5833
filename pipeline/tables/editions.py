"""Which units were given up and computed again under another id, because some of their documents may yet succeed.

    <table>/_units/editions/<unit id>-<edition>

A fragment is never written twice, so a unit that is tried again is another unit: its edition is hashed into its id. The
name says it all, so that one listing tells of every unit. The documents that had scores are taken over from the
edition before.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.storage.objects import TRANSFERS, Storage


@dataclass(frozen=True, slots=True)
class Editions:
    """The editions of units in one table; by the ids of their first."""

    storage: Storage
    table_uri: str

    @property
    def folder(self) -> str:
        """Where they are."""
        return f"{self.table_uri.rstrip('/')}/_units/editions"

    def read(self) -> dict[str, int]:
        """Lists the newest edition of each unit that has more than its first, which is number 0; nothing is read."""
        editions: dict[str, int] = {}
        for file in self.storage.find(self.folder):
            unit, _, edition = file.uri.rpartition("/")[2].rpartition("-")
            editions[unit] = max(int(edition), editions.get(unit, 0))
        return editions

    def write(self, editions: Mapping[str, int]) -> None:
        """Stores that units have an edition."""
        uris = [f"{self.folder}/{unit}-{edition}" for unit, edition in editions.items()]
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(lambda uri: self.storage.put_if_absent(uri, b""), uris))
