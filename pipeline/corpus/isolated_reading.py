"""Reading in an isolated process, for files whose decoding may end it.

A unit whose process dies twice is cut finer, down to one line, or to the row from which on a row group can't be
decoded. What can't be read even so leaves as errors. Behind such a place in a stream nothing can be read: its rest is
one error for each unit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import pyarrow as pa

from pipeline.corpus.passes import Pass, read_pass
from pipeline.corpus.readers import line_starts
from pipeline.corpus.slices import Bytes, Part, RowGroups, Rows, Stream, Unit, Unreadable
from pipeline.corpus.units import row_groups
from pipeline.isolation import DEATHS, IsolatedProcess, ProcessDied, attempt, search_by_halving
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
        if isinstance(first.slice, Stream):
            yield first.part(n_read), self._errors(first, position)
        elif isinstance(first.slice, Part):
            for at, unit in enumerate(units[n_read:], position):
                yield unit, self._errors(unit, at)
        else:
            deadly = replace(units[n_read], limit=None)
            yield units[n_read], pa.concat_tables(self._around(deadly))[: units[n_read].limit]
            if units[n_read + 1 :]:
                yield from self.read_pass(units[n_read + 1 :])

    def _around(self, unit: Unit) -> Iterator[pa.Table]:
        """As much of a deadly unit as can be read."""
        if isinstance(unit.slice, RowGroups):
            for group in row_groups(self._storage, unit):
                try:
                    yield attempt(self._read, group)
                except ProcessDied:
                    yield from self._around(group)
        elif isinstance(unit.slice, Rows):
            yield from self._rows(unit, unit.slice)
        else:
            yield from search_by_halving(unit, self._read, self._halve_lines, self._line_error)

    def _rows(self, unit: Unit, rows: Rows) -> Iterator[pa.Table]:
        """Rows before the one that can't be decoded; nobody gets to those behind it."""
        start = rows.first_row + rows.start
        for documents in search_by_halving(unit, self._read, _halve_rows, lambda _: None):
            if documents is None:
                yield self._errors(unit, start, rows.first_row + rows.stop)
                return
            start += len(documents)
            yield documents

    def _halve_lines(self, unit: Unit) -> Sequence[Unit]:
        lines = unit.slice
        starts = line_starts(self._storage, unit) if isinstance(lines, Bytes) else []
        if not isinstance(lines, Bytes) or len(starts) < 2:
            return ()
        middle = starts[len(starts) // 2]
        return [replace(unit, slice=half) for half in (Bytes(lines.start, middle), Bytes(middle, lines.stop))]

    def _line_error(self, unit: Unit) -> pa.Table:
        starts = line_starts(self._storage, unit) if isinstance(unit.slice, Bytes) else []
        return self._errors(unit, *starts)

    def _errors(self, unit: Unit, start: int | None = None, stop: int | None = None) -> pa.Table:
        """Rows [start, stop) of the file, or one row for all."""
        if start is None:
            start = unit.slice.start if isinstance(unit.slice, Bytes) else 0
        slice_ = Unreadable("process_died", MESSAGE, start, stop or start + 1)
        ((_, documents),) = read_pass(self._storage, (replace(unit, slice=slice_, limit=None),))
        return documents


def _halve_rows(unit: Unit) -> Sequence[Unit]:
    rows = unit.slice
    assert isinstance(rows, Rows)
    middle = (rows.start + rows.stop) // 2
    if middle == rows.start:
        return ()
    return [replace(unit, slice=half) for half in (replace(rows, stop=middle), replace(rows, start=middle))]


def _prepare() -> Iterator[None]:
    """What is imported can't be at fault."""
    yield
