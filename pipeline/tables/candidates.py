"""Candidates: whole snapshots that a gate held back. Readers see none of them, and no rollback chooses one.

    data/snapshot=<n>/…, errors/snapshot=<n>/…   a candidate's files, under the number that its run claimed
    _candidates/<n>.json                         its manifest, which would make it visible in _snapshots/

Letting one through puts its manifest into _snapshots/ and then removes the one in _candidates/. Whoever finds both
sees a snapshot that is published, so that it may die between the two.
"""

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import ConfigError, ConflictError
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.snapshots import Manifest, Snapshots


@dataclass(frozen=True, slots=True)
class CandidateSnapshots:
    """The candidates of one table."""

    snapshots: Snapshots

    def all(self) -> list[Manifest]:
        """Reads them all, oldest first."""
        return [self._read(number) for number in self.snapshots.candidates()]

    def read(self, number: int) -> Manifest:
        """Reads a candidate's manifest. Raises ConfigError if there is none."""
        there = self.snapshots.candidates()
        if number not in there:
            found = ", ".join(map(str, there)) or "none"
            raise ConfigError(
                f"{self.snapshots.table_uri}: has no candidate {number}; it has {found}: `rookery snapshots` lists them"
            )
        return self._read(number)

    def find(self, content: str) -> Manifest | None:
        """Reads the candidate that would publish this content on top of the current snapshot; None if there is none.

        One of which a file is gone counts for none: it is written again.
        """
        current = self._current()
        for number in self.snapshots.candidates():
            if number > (current or 0):
                manifest = self._read(number)
                if (manifest.content, manifest.parent) == (content, current) and not self.snapshots.damage(manifest):
                    return manifest
        return None

    def keep(self, manifest: Manifest) -> None:
        """Keeps a snapshot whose files are all there as a candidate, or its record of what gates made of it."""
        is_there = manifest.snapshot in self.snapshots.candidates()
        if not (is_there and self._read(manifest.snapshot) == manifest):
            self.snapshots.storage.put(self.snapshots.candidate_uri(manifest.snapshot), manifest.dump())

    def publish(self, candidate: Manifest, run: dict[str, Any]) -> Manifest:
        """Lets a candidate through: returns the manifest that readers see. `run` goes over its own.

        Raises:
            ConfigError: files of it are gone.
            ConflictError: its parent is no longer the current snapshot, or an erasure is not done.
            StorageError: the store failed; run again.
        """
        table_uri, number = self.snapshots.table_uri, candidate.snapshot
        Erasures(self.snapshots.storage, table_uri).check_finished()
        if (current := self._current()) != candidate.parent:
            raise ConflictError(
                f"{table_uri}: candidate {number} was judged against {_named(candidate.parent)}, and the current one "
                f"is {_named(current)} by now; nothing was published. Run `rookery label` again: it makes a new "
                "candidate, and judges that"
            )
        if problem := self.snapshots.damage(candidate):
            raise ConfigError(
                f"{problem}: candidate {number} can't be published; `rookery label` writes what is missing again"
            )
        published = self.snapshots.publish(replace(candidate, run=candidate.run | run))
        self._forget(number)
        return published

    def finish(self, number: int) -> bool:
        """Does what is left to do where a candidate is published already; says whether it is."""
        is_published = number in self.snapshots.published()
        if is_published:
            self.snapshots.point_to_latest()
            self._forget(number)
        return is_published

    def _forget(self, number: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.snapshots.storage.delete(self.snapshots.candidate_uri(number))

    def _read(self, number: int) -> Manifest:
        return Manifest.parse(self.snapshots.storage.read(self.snapshots.candidate_uri(number)))

    def _current(self) -> int | None:
        latest = self.snapshots.latest()
        return latest.snapshot if latest else None


def _named(snapshot: int | None) -> str:
    return "no snapshot" if snapshot is None else f"snapshot {snapshot}"
