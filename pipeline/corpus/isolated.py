"""Reading in a process of its own, for files whose decoding may end it.

A unit that ends the process twice is cut finer, down to one line, or to the row from which on a row group can't be decoded.
What can't be read even so leaves as errors. Behind such a place in a stream nothing can be read: its rest is one error for
each unit.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pyarrow as pa

from pipeline.corpus.passes import Pass, read_pass
from pipeline.corpus.readers import line_starts, read
from pipeline.corpus.units import Bytes, Part, RowGroups, Rows, Stream, Unit, Unreadable, row_groups
from pipeline.isolation import DEATHS, Apart, ProcessEnded
from pipeline.storage.objects import Storage

MESSAGE = "the process that read it ended, twice and here; look for it in the system's log"


class IsolatedReading:
    """What `read_pass` gives, where it does no harm."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._apart = Apart(_prepare)

    def read_pass(self, units: Pass) -> Iterator[tuple[Unit, pa.Table]]:
        """Each unit of a pass with its DOCUMENTS. Raises what `read_pass` raises."""
        n_read = deaths = position = 0
        while deaths < DEATHS:
            try:
                for unit, documents in islice(self._run(units), n_read, None):
                    yield unit, documents
                    n_read, deaths = n_read + 1, 0
                    if len(documents):
                        position = documents["position"][-1].as_py() + 1
                return
            except ProcessEnded:
                deaths += 1
        yield from self._from_killer(units, n_read, position)

    def close(self) -> None:
        """Ends the process."""
        self._apart.close()

    def _run(self, units: Pass) -> Iterator[tuple[Unit, pa.Table]]:
        return self._apart.run(read_pass, self._storage, units)

    def _from_killer(self, units: Pass, n_read: int, position: int) -> Iterator[tuple[Unit, pa.Table]]:
        """`position`: of a stream's first document that was not read. An error's id is of its position: no two share one."""
        first = units[0]
        if isinstance(first.slice, Stream):
            yield first.part(n_read), self._errors(first, position)
        elif isinstance(first.slice, Part):
            for at, unit in enumerate(units[n_read:], position):
                yield unit, self._errors(unit, at)
        else:
            killer = replace(units[n_read], limit=None)
            yield units[n_read], pa.concat_tables(self._around(killer))[: units[n_read].limit]
            if units[n_read + 1 :]:
                yield from self.read_pass(units[n_read + 1 :])

    def _around(self, unit: Unit) -> Iterator[pa.Table]:
        """A unit that ends the process, as much of it as can be read."""
        if isinstance(unit.slice, RowGroups):
            for group in row_groups(self._storage, unit):
                documents = self._read(group)
                yield from self._around(group) if documents is None else [documents]
        elif isinstance(unit.slice, Rows):
            yield from self._up_to_killer(unit, unit.slice)
        elif isinstance(unit.slice, Bytes):
            yield from self._lines(unit, unit.slice)
        else:
            yield self._errors(unit)

    def _up_to_killer(self, unit: Unit, rows: Rows) -> Iterator[pa.Table]:
        """Rows before the one that can't be decoded; nobody gets to those behind it."""
        start, stop = rows.start, rows.stop  # reading what lies between ends the process
        while stop - start > 1:
            middle = (start + stop) // 2
            documents = self._read(replace(unit, slice=replace(rows, start=start, stop=middle)))
            if documents is None:
                stop = middle
            else:
                start = middle
                yield documents
        yield self._errors(unit, rows.first_row + start, rows.first_row + rows.stop)

    def _lines(self, unit: Unit, lines: Bytes) -> Iterator[pa.Table]:
        """All but the lines that end the process alone, twice."""
        starts = line_starts(self._storage, unit)
        if len(starts) < 2:
            documents = self._read(unit, deaths=1)
            yield self._errors(unit, *starts) if documents is None else documents
            return
        middle = starts[len(starts) // 2]
        for half in (Bytes(lines.start, middle), Bytes(middle, lines.stop)):
            part = replace(unit, slice=half)
            documents = self._read(part, deaths=1)
            yield from self._around(part) if documents is None else [documents]

    def _read(self, unit: Unit, deaths: int = DEATHS) -> pa.Table | None:
        """None if that ends the process so often."""
        for _ in range(deaths):
            try:
                ((_, documents),) = self._run((unit,))
            except ProcessEnded:
                continue
            return documents
        return None

    def _errors(self, unit: Unit, start: int | None = None, stop: int | None = None) -> pa.Table:
        """Rows [start, stop) of the file, or one row for all."""
        if start is None:
            start = unit.slice.start if isinstance(unit.slice, Bytes) else 0
        slice_ = Unreadable("process_died", MESSAGE, start, stop or start + 1)
        return read(self._storage, replace(unit, slice=slice_, limit=None))


def _prepare() -> Iterator[None]:
    """What is imported can't be at fault."""
    yield
