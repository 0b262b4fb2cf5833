"""A packer in an isolated process, for documents that may end it: they are found by halving and leave as errors."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipeline.isolation import IsolatedProcess, ProcessDied, attempt, search_by_halving
from pipeline.schema import DOCUMENTS, append_carried
from pipeline.text.packer import Packer

_PROCESS_DIED = {
    "text": None,
    "stage": "tokenize",
    "reason": "process_died",
    "message": (
        "the process that tokenized it ended, twice and with this document alone; look for it in the system's log"
    ),
}


class IsolatedPacker:
    """Packs documents as a Packer does, but for those that end the process."""

    def __init__(self, load: Callable[..., Packer], *arguments: Any) -> None:
        """`load`, a function of a module, gives the packer; it is called in the isolated process."""
        self._load = (load, *arguments)
        self._process = IsolatedProcess(_prepare, *self._load)

    def packs(self, unit: str, documents: pa.Table) -> pa.Table:
        """Turns DOCUMENTS into PACKS, one row.

        Raises:
            RetryableError: the process dies before it has tokenized anything.
            Exception: what the packer raised.
        """

        def compute(rows: range) -> pa.Table:
            return self._packs(unit, documents[rows.start : rows.stop])

        rows = range(len(documents))
        try:
            return attempt(compute, rows)
        except ProcessDied:
            outcomes = search_by_halving(rows, lambda part: (part, compute(part)), _halve, lambda part: (part, None))
            deadly = [part.start for part, packs in outcomes if packs is None]
        records = documents.select(DOCUMENTS.names).to_pylist()
        for row in deadly:
            records[row] |= _PROCESS_DIED
        without_deadly = pa.Table.from_pylist(records, schema=DOCUMENTS)
        return self._packs(unit, append_carried(without_deadly, documents))

    def close(self) -> None:
        """Ends the process; the next call starts another."""
        self._process.close()

    def _packs(self, unit: str, documents: pa.Table) -> pa.Table:
        (packs,) = self._process.run(_packs, self._load, unit, documents)
        return packs


def _halve(rows: range) -> Sequence[range]:
    half = len(rows) // 2
    return (rows[:half], rows[half:]) if half else ()


def _prepare(load: Callable[..., Packer], *arguments: Any) -> Iterator[None]:
    load(*arguments)
    yield


def _packs(loaded: tuple[Any, ...], unit: str, documents: pa.Table) -> Iterator[pa.Table]:
    load, *arguments = loaded
    yield load(*arguments).packs(unit, documents)
