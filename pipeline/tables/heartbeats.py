"""Which runs of a job are alive: each puts an object of its own anew, time and again, for as long as it lasts.

    <table>/_units/<scoring key>/runs/<run id>    of runs that label or publish
    <table>/_units/<scoring key>/runs/<run id>.stop    where its workers are to begin nothing more
    <table>/_erased/runs/<run id>                 of erasures

Only the store's own times are compared, and only with each other, so that no machine's clock has a say: the newest of
them is at most a few seconds old, because whoever asks has a run that is alive. A run that hangs, or can't reach the
store, seems dead.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import RookeryError
from pipeline.storage.objects import Storage
from pipeline.ticking import every

BEAT_SECONDS = 15.0
ALIVE_SECONDS = 60.0  # since the last beat
_known: dict[str, float] = {}  # runs that are alive, and until when this process believes it


class SharedFolder(Protocol):
    """A folder that several runs work in: the fragments of a scoring key, the erasures of a table."""

    @property
    def storage(self) -> Storage: ...
    @property
    def folder(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """The runs in one folder of one table."""

    shared: SharedFolder

    @property
    def folder(self) -> str:
        return f"{self.shared.folder}/runs"

    def uri(self, run: str) -> str:
        """Names the object of a run."""
        return f"{self.folder}/{run}"

    @contextlib.contextmanager
    def beating(self) -> Iterator[str]:
        """Keeps a run alive while the block runs; gives its id. Raises StorageError where it can't begin to beat."""
        run = secrets.token_hex(8)
        self._beat(run)
        with every(BEAT_SECONDS, lambda: self._beat_again(run), lambda: self._leave(run)):
            yield run

    def alive(self) -> set[str]:
        """Lists the ids of the runs that are alive; right where the one that asks is alive itself."""
        found = self.shared.storage.find(self.folder)
        beats = {file.uri.rpartition("/")[2]: file.modified for file in found if not file.uri.endswith(".stop")}
        now = max(beats.values(), default=0.0)
        return {run for run, moment in beats.items() if now - moment < ALIVE_SECONDS}

    def is_alive(self, run: str) -> bool:
        """Tells whether a run is alive, or was a beat ago: many questions about one run cost one listing."""
        now = time.monotonic()
        if now > _known.get(run, 0.0):
            _known.update(dict.fromkeys(self.alive(), now + BEAT_SECONDS))
        return now < _known.get(run, 0.0)

    def stop(self, run: str) -> None:
        """Asks the workers of a run to begin nothing more: what they are at is finished, and kept."""
        self.shared.storage.put(self._stop_uri(run), b"")

    def is_stopped(self, run: str) -> bool:
        """Tells whether a run's workers are to begin nothing more."""
        return self.shared.storage.stat(self._stop_uri(run)) is not None

    def _stop_uri(self, run: str) -> str:
        return f"{self.uri(run)}.stop"

    def _beat(self, run: str) -> None:
        self.shared.storage.put(self.uri(run), b"")

    def _beat_again(self, run: str) -> None:
        with contextlib.suppress(RookeryError):  # the run may go on: to others it seems dead
            self._beat(run)

    def _leave(self, run: str) -> None:
        for uri in (self._stop_uri(run), self.uri(run)):
            with contextlib.suppress(RookeryError, FileNotFoundError):
                self.shared.storage.delete(uri)
