"""Reading in an isolated process, for files whose decoding may end it.

A unit whose process dies twice is cut finer, as its format can: down to one line, or to the row from which on a row
group can't be decoded. What can't be read even so leaves as errors. Behind such a place in a stream nothing can be
read: its rest is one error for each unit.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pyarrow as pa

from pipeline.corpus.formats import FORMATS
from pipeline.corpus.slices import Unit, Unreadable
from pipeline.corpus.streams import Pass, read_pass
from pipeline.isolation import DEATHS, IsolatedProcess, ProcessDied
from pipeline.storage.objects import Storage

MESSAGE = "the process that read it ended, twice and here; look for it in the system's log"


class IsolatedReading:
    """Reads units where a death of the process does no harm."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._process = IsolatedProcess(_prepare)

    def read_pass(self, units: Pass) -> Iterator[tuple[Unit, pa.Table]]:
        """Yield each unit of a pass with its DOCUMENTS; of a stream, each of its parts.

        Raises:
            RetryableError: the process dies before it has read anything.
            Exception: what `passes.read_pass` raised.
        """
        n_read = deaths = position = 0
        while deaths < DEATHS:
            try:
                for unit, documents in islice(self._run(units), n_read, None):
                    yield unit, documents
                    n_read, deaths = n_read + 1, 0
                    if len(documents):
                        position = documents["position"][-1].as_py() + 1
                return
            except ProcessDied:
                deaths += 1
        yield from self._from_deadly(units, n_read, position)

    def close(self) -> None:
        """End the process; the next call starts another."""
        self._process.close()

    def _run(self, units: Pass) -> Iterator[tuple[Unit, pa.Table]]:
        return self._process.run(read_pass, self._storage, units)

    def _read(self, unit: Unit) -> pa.Table:
        ((_, documents),) = self._run((unit,))
        return documents

    def _from_deadly(self, units: Pass, n_read: int, position: int) -> Iterator[tuple[Unit, pa.Table]]:
        """`position`: of a stream's first document that was not read. An error's id is of it: no two share one."""
        first = units[0]
        if first.slice.is_stream:
            yield first.part(n_read), self._errors(first, range(position, position + 1))
        elif first.slice.stream:
            for at, unit in enumerate(units[n_read:], position):
                yield unit, self._errors(unit, range(at, at + 1))
        else:
            deadly = units[n_read]
            yield deadly, pa.concat_tables(self._around(replace(deadly, limit=None)))[: deadly.limit]
            if units[n_read + 1 :]:
                yield from self.read_pass(units[n_read + 1 :])

    def _around(self, unit: Unit) -> Iterator[pa.Table]:
        """As much of a deadly unit as can be read, and errors for the rest."""
        for documents in FORMATS[unit.file.format].read_around(self._storage, unit, self._read):
            yield self._errors(unit, documents) if isinstance(documents, range) else documents

    def _errors(self, unit: Unit, positions: range) -> pa.Table:
        slice_ = Unreadable("process_died", MESSAGE, positions.start, positions.stop)
        ((_, documents),) = read_pass(self._storage, (replace(unit, slice=slice_, limit=None),))
        return documents


def _prepare() -> Iterator[None]:
    """What is imported can't be at fault."""
    yield
