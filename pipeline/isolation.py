"""An isolated process, for calls that may end it, and the search for what does: a fault of a library, or memory.

    parent ── function, arguments ──▶ child
    parent ◀── item, item, …, end ──  child

Both sides are ours and so is every pickle that passes between them; the child ends with its parent, however that ends.
Run as `python -m pipeline.isolation FD`.
"""

import contextlib
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pipeline.errors import RetryableError

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")

ITEM, END, ERROR = "item", "end", "error"
OTHER_SIDE_GONE = (EOFError, ConnectionError)
DEATHS = 2  # of the process, until what it computed is blamed: it may also be ended from outside


class ProcessDied(Exception):
    """The process ended during a call; the next call starts another."""


def attempt(compute: Callable[[_Part], _Result], part: _Part) -> _Result:
    """Computes a part, once more if its process dies.

    Raises:
        ProcessDied: the process died both times.
    """
    for _ in range(DEATHS - 1):
        with contextlib.suppress(ProcessDied):
            return compute(part)
    return compute(part)


def search_by_halving(
    part: _Part,
    compute: Callable[[_Part], _Result],
    halve: Callable[[_Part], Sequence[_Part]],
    give_up: Callable[[_Part], _Result],
) -> Iterator[_Result]:
    """Computes a part whose process died, all of it but the smallest parts that are deadly alone.

    `halve` gives smaller parts, or none where a part can't be halved: that one is computed once more, and given up if
    the process dies again. Results come in the order of the parts, as they are computed: who needs nothing behind the
    first deadly part need not ask for it. Of n things, one that is deadly costs about log2(n) + 2 processes.

    Raises what `compute` raises but ProcessDied.
    """
    halves = halve(part)
    for smaller in halves or [part]:
        try:
            result = compute(smaller)
        except ProcessDied:
            if halves:
                yield from search_by_halving(smaller, compute, halve, give_up)
            else:
                yield give_up(part)
        else:
            yield result


class IsolatedProcess:
    """Starts its process when it is first needed, and again after it has died."""

    def __init__(self, prepare: Callable[..., Iterable[Any]], *arguments: Any) -> None:
        """`prepare` is called first in every process: if that ends it, no call is to blame."""
        self._prepare = (prepare, arguments)
        self._child: tuple[subprocess.Popen[bytes], Connection] | None = None

    def run(self, function: Callable[..., Iterable[Any]], *arguments: Any) -> Iterator[Any]:
        """Yields what `function` yields there, an item at a time. All must be picklable.

        Take all items, or close the iterator, before the next call.

        Raises:
            ProcessDied: the process ended before the function did.
            RetryableError: the process ended before it could begin.
            Exception: what the function raised.
        """
        if self._child is None:
            self._start()
        return self._ask(function, arguments)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._child = process, Connection(ours.detach())
        try:
            for _ in self._ask(*self._prepare):
                pass
        except ProcessDied as error:
            raise RetryableError(
                f"a process apart ended before it had begun anything (status {process.returncode}): is there enough "
                "memory for one more? Run again: finished units are kept"
            ) from error

    def _ask(self, function: Callable[..., Iterable[Any]], arguments: Any) -> Iterator[Any]:
        assert self._child is not None
        _, connection = self._child
        ended = False
        try:
            connection.send((function, arguments))
            while not ended:
                kind, value = connection.recv()
                ended = kind != ITEM
                if kind == ITEM:
                    yield value
        except OTHER_SIDE_GONE as error:
            raise ProcessDied from error
        finally:
            if not ended:  # it is gone, or its other items would be taken for the next call's
                self.close()
        if kind == ERROR:
            raise value

    def close(self) -> None:
        """Ends the process; the next call starts another."""
        if self._child is None:
            return
        process, connection = self._child
        self._child = None
        connection.close()
        process.kill()
        process.wait()


def serve(connection: Connection) -> None:
    """Answers calls until the other side is gone."""
    with contextlib.suppress(*OTHER_SIDE_GONE):
        while True:
            for answer in _answers(*connection.recv()):
                connection.send(answer)


def _answers(function: Callable[..., Iterable[Any]], arguments: Any) -> Iterator[tuple[str, Any]]:
    try:
        for item in function(*arguments):
            yield ITEM, item
    except Exception as error:  # noqa: BLE001 - whatever it is, it did not end the process
        yield ERROR, _picklable(error)
    else:
        yield END, None


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - some exceptions take other arguments than they were given
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
