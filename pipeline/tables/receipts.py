"""What an erasure did: kept beside its list, without text and without ids.

    <table>/_erased/<list>.unfinished   what its runs have set out to do so far: put before they do it
    <table>/_erased/<list>.json         the receipt: the same when the last of them has ended well

A run that was killed has no `finished_at`, and may have done all, some or nothing of what it lists; the one behind it
did the rest. Paths lack the folders of partition values, for these are the corpus's.
"""

import contextlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

from pipeline.tables.erased_ids import DIGEST_BYTES, LIST_ENDING, UNFINISHED_ENDING, Erasures

RECEIPT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ErasureRun:
    """One run of `rookery erase`: when, by which version, and what it replaced or removed."""

    began_at: str  # ISO 8601, UTC
    finished_at: str | None
    rookery: str
    rewritten: list[str] = field(
        default_factory=list
    )  # objects replaced by one without the documents, by their old paths
    removed: list[str] = field(default_factory=list)  # objects that held nothing else, or are derived and made anew
    left: list[str] = field(default_factory=list)  # partition keys of which a folder is called by an erased id
    alive: list[str] = field(default_factory=list)  # runs of `rookery label` that had begun before, and were at work

    @classmethod
    def begun(cls, alive: Iterable[str]) -> "ErasureRun":
        """Makes that of a run that begins now."""
        return cls(now(), None, version("rookery"), alive=sorted(alive))


def now() -> str:
    """Gives the time, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class Receipts:
    """The journals and receipts of one table's erasures, by the names of their lists."""

    erasures: Erasures

    def begin(self, name: str, run: ErasureRun) -> None:
        """Notes what a run sets out to do, behind what those before it have."""
        self._put(name, UNFINISHED_ENDING, [*self._runs_before(name, run), run])

    def finish(self, name: str, run: ErasureRun) -> None:
        """Puts the receipt, then takes the journal away: from then on the erasure is done."""
        before = self._runs_before(name, run)
        if run.rewritten or run.removed or not before:  # else it only saw that all was done
            before = [*before, run]
        self._put(name, ".json", before)
        with contextlib.suppress(FileNotFoundError):
            self.erasures.storage.delete(self.erasures.uri(name + UNFINISHED_ENDING))

    def runs(self, name: str) -> list[ErasureRun]:
        """Reads what is noted of a list's erasure: in its journal or, when it is done, in its receipt."""
        return self._read(name, UNFINISHED_ENDING) or self._read(name, ".json")

    def _runs_before(self, name: str, run: ErasureRun) -> list[ErasureRun]:
        return [other for other in self.runs(name) if other.began_at != run.began_at]

    def _read(self, name: str, ending: str) -> list[ErasureRun]:
        try:
            data = self.erasures.storage.read(self.erasures.uri(name + ending))
        except FileNotFoundError:
            return []
        return [ErasureRun(**run) for run in json.loads(data)["runs"]]

    def _put(self, name: str, ending: str, runs: list[ErasureRun]) -> None:
        ids = len(self.erasures.storage.read(self.erasures.uri(name + LIST_ENDING))) // DIGEST_BYTES
        tree = {"version": RECEIPT_VERSION, "ids": ids, "runs": [asdict(run) for run in runs]}
        self.erasures.storage.put(self.erasures.uri(name + ending), json.dumps(tree, indent=1).encode() + b"\n")
