"""A packer in a process of its own, for documents that may end it: they are found by halving and leave as errors."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from pipeline.isolation import DEATHS, Apart, ProcessEnded
from pipeline.schema import DOCUMENTS
from pipeline.text.packer import Packer

PROCESS_DIED = {
    "text": None,
    "stage": "tokenize",
    "reason": "process_died",
    "message": "the process that tokenized it ended, twice and with this document alone; look for it in the system's log",
}


class IsolatedPacker:
    """The same packs as a Packer's for documents that do no harm."""

    def __init__(self, load: Callable[..., Packer], *arguments: Any) -> None:
        """`load`, a function of a module, gives the packer; it is called in the process apart."""
        self._load = (load, *arguments)
        self._apart = Apart(_prepare, *self._load)

    def packs(self, unit: str, documents: pa.Table) -> pa.Table:
        """DOCUMENTS -> PACKS, one row.

        Raises:
            RetryableError: the process ends before it has tokenized anything.
            Exception: what the packer raised.
        """
        for _ in range(DEATHS):
            try:
                return self._packs(unit, documents)
            except ProcessEnded:
                continue
        records = documents.to_pylist()
        for index in self._killers(unit, documents, 0):
            records[index] |= PROCESS_DIED
        return self._packs(unit, pa.Table.from_pylist(records, schema=DOCUMENTS))

    def close(self) -> None:
        """Ends the process."""
        self._apart.close()

    def _killers(self, unit: str, documents: pa.Table, first: int) -> list[int]:
        """Of documents that ended the process, those that do so alone, twice; counted from `first`."""
        half = len(documents) // 2
        parts = [(documents, first)] * DEATHS
        if half:
            parts = [(documents[:half], first), (documents[half:], first + half)]
        ended = [(part, at) for part, at in parts if self._ends_process(unit, part)]
        if half:
            return [index for part, at in ended for index in self._killers(unit, part, at)]
        return [first] if len(ended) == DEATHS else []

    def _ends_process(self, unit: str, documents: pa.Table) -> bool:
        try:
            self._packs(unit, documents)
        except ProcessEnded:
            return True
        return False

    def _packs(self, unit: str, documents: pa.Table) -> pa.Table:
        (packs,) = self._apart.run(_packs, self._load, unit, documents)
        return packs


def _prepare(load: Callable[..., Packer], *arguments: Any) -> Iterator[None]:
    load(*arguments)
    yield


def _packs(loaded: tuple[Any, ...], unit: str, documents: pa.Table) -> Iterator[pa.Table]:
    load, *arguments = loaded
    yield load(*arguments).packs(unit, documents)
