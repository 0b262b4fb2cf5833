"""What is needed of a table's objects, and why. What nothing needs is unreachable: `vacuum` may delete it.

    a kept snapshot         its files and, so that the night after a rollback is cheap, its units' fragments and tallies
    a candidate             the same: it may be published yet, or was held back in the last days
    a run at work           by its heartbeat, the fragments, marks and scratch of its scoring key
    a run that publishes    it has no heartbeat, but a claim above the newest snapshot: every fragment
    the last days           fragments and tallies that were written then, whatever they belong to: scores are taken over
                            from those of units that the corpus has no longer; records of runs

A snapshot that doesn't say which units it was made of needs every fragment of its scoring key. Tallies then go by age:
a group that needs its own again is counted once more.
"""

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np

from pipeline.errors import RookeryError
from pipeline.tables.object_names import ObjectName, object_name
from pipeline.tables.snapshot_units import DigestSet, read_units
from pipeline.tables.snapshots import Manifest, Snapshots

DAY_SECONDS = 86400.0
AT_WORK_SECONDS = 3600.0  # since a run's last beat: more than a store that is away keeps it from the next one
_NONE = DigestSet(np.empty(0, np.uint64))
FOREVER = {  # kinds that are small and that something may always ask for
    "stream lengths": "known lengths of compressed files",
    "editions": "which fragment of a unit counts",
    "manifests": "the table's history",
    "notes of what was vacuumed": "the table's history",
    "candidates": "the table's history",
    "hints": "where to look first",
    "erasures": "what must not come back",
    "estimates": "what a run is compared with",
    "records of lakes": "lake tables, which vacuum has to ask",
    "records of vacuum": "the table's history",
}


@dataclass(frozen=True, slots=True)
class Retention:
    """What a vacuum keeps: the newest complete snapshots, and all of the last days.

    `grace_days`: that an object is listed as unreachable, unchanged, before it is deleted. More than the longest run
    takes, and the longest reader.
    """

    snapshots: int = 10
    days: int = 30
    grace_days: int = 7


@dataclass(frozen=True, slots=True)
class _Published:
    scoring_key: str
    partial: bool
    moment: float  # seconds


class _InUse(NamedTuple):
    units: dict[str, DigestSet | None]  # by scoring key
    groups: DigestSet | None


class _Candidate(NamedTuple):
    scoring_key: str
    parent: int | None
    modified: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What a table needs at a moment.

    `snapshots`, `candidates`: the scoring key of each kept snapshot and of each candidate. `units`: of each of these
    keys, the units in use; None for all. `groups`: those in use; None where that isn't known. `given_up`: snapshots
    that are neither kept nor vacuumed yet. `at_work`: the keys that runs work on. `is_publishing`: a run may be about
    to publish. `named_by_lakes`: paths that a version of a lake table names.
    """

    now: float
    retention: Retention
    newest: int
    snapshots: Mapping[int, str]
    given_up: frozenset[int]
    candidates: Mapping[int, str]
    units: Mapping[str, DigestSet | None]
    groups: DigestSet | None
    at_work: frozenset[str]
    is_publishing: bool
    named_by_lakes: frozenset[str]

    def reason(self, path: str, name: ObjectName, modified: float) -> str | None:
        """Says what needs an object, in words; None where nothing does.

        `path`: relative to the table. `modified`: when it was written, in seconds by the store's clock; 0 where the
        store doesn't tell.
        """
        if path in self.named_by_lakes:
            return "lake tables"
        match name.kind:
            case "data files" | "errors files" | "claims" | "lists of units" | "lists of files":
                return self._snapshot_s(name.snapshot)
            case "fragments":
                return self._unit_s(name) or self._run_s(name.scoring_key) or self._recent(modified)
            case "index":
                kept = "units of kept snapshots" if name.scoring_key in self.units else None
                return kept or self._run_s(name.scoring_key)
            case "tallies":
                is_in_use = self.groups is not None and name.digest in self.groups
                return "units of kept snapshots" if is_in_use else self._recent(modified)
            case "scratch":
                return "runs at work" if self.at_work else None
            case "marks" | "heartbeats":
                return "runs at work" if name.scoring_key in self.at_work else None
            case "records of runs":
                return self._recent(modified)
            case "broken-off writes":
                return None
        return FOREVER[name.kind]

    def _snapshot_s(self, snapshot: int | None) -> str | None:
        assert snapshot is not None
        if snapshot in self.snapshots:
            return "kept snapshots"
        if snapshot in self.candidates:
            return "candidates"
        return "a run that may be publishing" if snapshot > self.newest else None

    def _unit_s(self, name: ObjectName) -> str | None:
        assert name.scoring_key is not None
        units = self.units.get(name.scoring_key, _NONE)
        return "units of kept snapshots" if units is None or name.digest in units else None

    def _run_s(self, key: str | None) -> str | None:
        if key in self.at_work:
            return "runs at work"
        return "a run that may be publishing" if self.is_publishing else None

    def _recent(self, modified: float) -> str | None:
        is_recent = not modified or modified > self.now - self.retention.days * DAY_SECONDS
        return f"the last {self.retention.days} days" if is_recent else None


class NeedsReader:
    """Reads what a table needs, now and again; a manifest, which never changes in this, is read once."""

    def __init__(
        self, snapshots: Snapshots, retention: Retention, named_by_lakes: frozenset[str] = frozenset()
    ) -> None:
        self._table = snapshots
        self._retention = retention
        self._named_by_lakes = named_by_lakes
        self._published: dict[int, _Published] = {}
        self._in_use: tuple[dict[int, str], _InUse] = {}, _InUse({}, _NONE)

    def read(self, now: float) -> Needs:
        """Reads what is needed at a moment of the store's clock, in seconds.

        Raises ConfigError for a manifest of a newer version, RookeryError for one that names files elsewhere.
        """
        held_back = self._candidates()  # first: one that is gone by now is among the published
        modified: dict[str, dict[int, float]] = {}
        for file in self._table.storage.find(self._table.uri("_snapshots")):
            name = object_name("_snapshots/" + file.uri.rpartition("/")[2])
            if name and name.snapshot is not None:
                modified.setdefault(name.kind, {})[name.snapshot] = file.modified
        manifests = modified.get("manifests", {})
        newest = max(manifests, default=0)
        claims = [moment for number, moment in modified.get("claims", {}).items() if number > newest]
        gone = modified.get("notes of what was vacuumed", {})
        kept = self._kept({n: manifests[n] for n in manifests if n not in gone}, now)
        candidates = self._open(held_back, manifests, gone, now)
        in_use = self._read_units(kept | candidates)
        return Needs(
            now=now,
            retention=self._retention,
            newest=newest,
            snapshots=kept,
            given_up=frozenset(manifests.keys() - gone.keys() - kept.keys()),
            candidates=candidates,
            units=in_use.units,
            groups=in_use.groups,
            at_work=frozenset(self._keys_at_work(now)),
            is_publishing=any(not claim or claim > now - self._retention.grace_days * DAY_SECONDS for claim in claims),
            named_by_lakes=self._named_by_lakes,
        )

    def _open(
        self, candidates: Mapping[int, "_Candidate"], manifests: Collection[int], gone: Collection[int], now: float
    ) -> dict[int, str]:
        """Picks those that may be published yet, or were held back in the last days; gives their scoring keys."""
        complete = (number for number in manifests if number not in gone and not self._published[number].partial)
        current = max(complete, default=None)
        oldest = now - self._retention.days * DAY_SECONDS
        return {
            number: candidate.scoring_key
            for number, candidate in candidates.items()
            if number not in manifests
            and (candidate.parent == current or not candidate.modified or candidate.modified > oldest)
        }

    def _kept(self, manifests: dict[int, float], now: float) -> dict[int, str]:
        kept, complete = {}, 0
        for number in sorted(manifests, reverse=True):
            published = self._read(number, manifests[number])
            complete += not published.partial
            is_counted = not published.partial and complete <= self._retention.snapshots
            if is_counted or published.moment > now - self._retention.days * DAY_SECONDS:
                kept[number] = published.scoring_key
        return kept

    def _read_units(self, keys: dict[int, str]) -> _InUse:
        if keys != self._in_use[0]:  # seldom: a vacuum asks time and again
            units: dict[str, DigestSet | None] = {}
            groups: DigestSet | None = _NONE
            for number, key in keys.items():
                of_snapshot = read_units(self._table, number)
                before = units.get(key, _NONE)
                units[key] = None if of_snapshot is None or before is None else before | of_snapshot.units
                groups = None if of_snapshot is None or groups is None else groups | of_snapshot.groups
            self._in_use = keys, _InUse(units, groups)
        return self._in_use[1]

    def _read(self, number: int, modified: float) -> _Published:
        if number not in self._published:
            manifest = self._table.read(number)
            self._check_own_files(manifest)
            # the manifest's own word first: a table that was copied has new times
            when = manifest.run.get("published_at")
            moment = datetime.fromisoformat(when).timestamp() if when else modified or float("inf")
            self._published[number] = _Published(manifest.scoring_key, manifest.partial, moment)
        return self._published[number]

    def _check_own_files(self, manifest: Manifest) -> None:
        for file in manifest.files:
            if not file.path.startswith(self._table.folder(file.kind, manifest.snapshot)):
                raise RookeryError(
                    f"{self._table.manifest_uri(manifest.snapshot)}: names {file.path}, which lies in another "
                    "snapshot's folder; this Rookery can't tell what such a table needs: nothing was deleted"
                )

    def _candidates(self) -> dict[int, "_Candidate"]:
        candidates = {}
        for file in self._table.storage.find(self._table.uri("_candidates")):
            name = object_name("_candidates/" + file.uri.rpartition("/")[2])
            if name is None or name.snapshot is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                tree = json.loads(self._table.storage.read(file.uri))
                candidates[name.snapshot] = _Candidate(str(tree["scoring_key"]), tree["parent"], file.modified)
        return candidates

    def _keys_at_work(self, now: float) -> set[str]:
        storage = self._table.storage
        folders = storage.folders_in(self._table.uri("_units"))
        beats = (file for folder in folders for file in storage.find(f"{folder}/runs"))
        return {beat.uri.split("/")[-3] for beat in beats if not beat.modified or now - beat.modified < AT_WORK_SECONDS}
