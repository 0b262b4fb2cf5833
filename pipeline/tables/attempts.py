"""Which units a stage is busy with. One that is marked after its attempt is over has ended its process, or lost it.

    <table>/_units/<scoring key>/<xx>/<unit id>.<stage>.begun
    <table>/_units/<scoring key>/<xx>/<unit id>.<stage>.<run id>.begun    where another run's mark was first

The mark lies in the store and not in memory, so that it outlives the actor, its machine and the driver. It names its
run, so that another run at work on the same unit is no attempt that is over: see heartbeats.py.
"""

import contextlib
import secrets
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from pipeline.errors import RookeryError
from pipeline.tables.fragments import Fragments
from pipeline.tables.heartbeats import Heartbeats

MARK_ENDING = ".begun"


@dataclass(frozen=True, slots=True)
class Attempts:
    """Marks of the units of one scoring key, by one stage (read or predict) of one run."""

    fragments: Fragments
    stage: str
    run: str = ""  # one without a name knows no neighbours

    def uri(self, unit: str, run: str = "") -> str:
        """Names the mark of a unit; the one beside it of a run where another run's was first."""
        beside = self.fragments.uri(unit).removesuffix(".parquet")
        return ".".join(filter(None, (beside, self.stage, run))) + MARK_ENDING

    @contextlib.contextmanager
    def attempt(self, unit: str, note: str = "") -> Iterator[bool]:
        """Marks a unit for as long as the block runs; gives whether an earlier attempt left its mark behind.

        If so, the unit may end this process too; or that attempt was ended from outside, as by a machine that was taken
        away. `note` says what is done, for whoever looks at a run that makes no progress.
        """
        uri, before = self._mark(unit, note)
        try:
            yield before
        finally:
            with contextlib.suppress(RookeryError, FileNotFoundError):
                # what stays makes a later attempt careful, and nothing worse
                self.fragments.storage.delete(uri)

    def _mark(self, unit: str, note: str) -> tuple[str, bool]:
        # nobody else's bytes: the same ones would be taken for our own put, whose reply was lost
        mine = f"{self.run} {secrets.token_hex(8)} {note}".encode()
        for uri in (self.uri(unit), self.uri(unit, self.run)):
            mark = self.fragments.storage.put_or_read(uri, mine)
            if mark == mine:
                return uri, False
            if self._is_over(mark):
                return uri, True
        raise AssertionError("the second mark is never another run's")

    def _is_over(self, mark: bytes) -> bool:
        run = _owner(mark)
        return not self.run or run == self.run or not Heartbeats(self.fragments).is_alive(run)


def _owner(mark: bytes) -> str:
    return mark.decode(errors="replace").partition(" ")[0]


def mark_note(mark: bytes) -> str:
    """Reads from a mark what is done, as `Attempts.attempt` was given it."""
    return mark.decode(errors="replace").split(" ", 2)[-1]


def remove_marks_of_run(fragments: Fragments, run: str, expected: int) -> None:
    """Removes the marks of a run that stops in order: what it gives up is under no suspicion.

    A worker that goes on for a moment may leave a new one; that makes the next attempt careful, and nothing worse.
    """
    with contextlib.suppress(RookeryError):
        for uri in fragments.listing(expected).others:
            with contextlib.suppress(FileNotFoundError):
                if uri.endswith(MARK_ENDING) and _owner(fragments.storage.read(uri)) == run:
                    fragments.storage.delete(uri)


def sweep_marks(fragments: Fragments, others: Iterable[str], unfinished: Container[str]) -> None:
    """Removes what dead runs left: their own objects, and marks that no attempt will come to.

    Args:
        fragments: those of the marks.
        others: URIs, as `fragments.listing` gives them.
        unfinished: ids of the units that have no fragment yet: their marks are needed.
    """
    if not others:
        return
    heartbeats = Heartbeats(fragments)
    with contextlib.suppress(RookeryError), heartbeats.beating():
        alive = heartbeats.alive()
        for uri in others:
            with contextlib.suppress(FileNotFoundError):  # its own run removed it meanwhile
                if _is_left(fragments, uri, unfinished, alive):
                    fragments.storage.delete(uri)


def _is_left(fragments: Fragments, uri: str, unfinished: Container[str], alive: set[str]) -> bool:
    folder, _, name = uri.rpartition("/")
    if name.endswith(MARK_ENDING):
        unit = name.partition(".")[0]
        return unit not in unfinished and _owner(fragments.storage.read(uri)) not in alive
    return folder.endswith("/runs") and name.partition(".")[0] not in alive
