"""A storage whose process dies at one of its changes: for tests that kill a protocol at each of its steps."""

import itertools
from typing import Any

from pipeline.storage.objects import Storage
from pipeline.tables.attempts import MARK_ENDING


class DyingError(BaseException):
    """The end of the process, which nothing catches."""


class DyingStorage(Storage):
    """Dies before, or after, its n-th change; marks and heartbeats don't count. Make it with `dying`."""

    changes: "itertools.count[int]"  # several may be under way at a time
    last: int
    after: bool

    def _change(self, change: Any, uri: str, *arguments: Any) -> Any:
        is_counted = not uri.endswith(MARK_ENDING) and "/runs/" not in uri  # a heart beats in a thread of its own
        is_last = is_counted and next(self.changes) == self.last
        if is_last and not self.after:
            raise DyingError
        result = change(uri, *arguments)
        if is_last:
            raise DyingError
        return result

    def put(self, uri: str, data: bytes) -> None:
        self._change(super().put, uri, data)

    def put_or_read(self, uri: str, data: bytes) -> bytes:
        return bytes(self._change(super().put_or_read, uri, data))

    def copy(self, source: str, target: str) -> None:
        self._change(super().copy, source, target)

    def delete(self, uri: str) -> None:
        self._change(super().delete, uri)


def dying(step: int, *, after: bool = False) -> Storage:
    """Makes a storage that dies before or after its change number `step`, from 1 on."""
    storage = DyingStorage()
    for name, value in (("changes", itertools.count(1)), ("last", step), ("after", after)):
        object.__setattr__(storage, name, value)
    return storage
