"""Which units a stage is busy with. One that is still marked when another attempt begins has ended its process, or lost it.

    <table>/_units/<scoring key>/<xx>/<unit id>.<stage>.begun

The mark lies in the store and not in memory, so that it outlives the actor, its machine and the driver.
"""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.errors import RookeryError
from pipeline.tables.fragments import Fragments


@dataclass(frozen=True, slots=True)
class Attempts:
    """Marks of the units of one scoring key, by one stage: read or predict."""

    fragments: Fragments
    stage: str

    def uri(self, unit: str) -> str:
        return self.fragments.uri(unit).removesuffix(".parquet") + f".{self.stage}.begun"

    @contextlib.contextmanager
    def begun(self, unit: str) -> Iterator[bool]:
        """Marks a unit for as long as the block runs. Gives whether it was marked: be careful with it.

        A mark may also be left by a machine that was taken away, or belong to another run of the same job.
        """
        storage, uri = self.fragments.storage, self.uri(unit)
        # nobody else's bytes: the same ones would be taken for our own put, whose reply was lost
        first = storage.put_if_absent(uri, secrets.token_bytes(16))
        try:
            yield not first
        finally:
            with contextlib.suppress(RookeryError, FileNotFoundError):
                storage.delete(uri)  # what stays makes a later attempt careful, and nothing worse
