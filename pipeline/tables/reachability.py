"""What is needed of a table's objects, and why. What nothing needs is unreachable: `vacuum` may delete it.

    a kept snapshot         its files and, so that the night after a rollback is cheap, the fragments of its scoring key
    a candidate             the same: it may be published yet
    a run at work           by its heartbeat, the fragments, marks and scratch of its scoring key
    a run that publishes    it has no heartbeat, but a claim above the newest snapshot: every fragment
    the last days           fragments and tallies that were written then, whatever they belong to

No list says which units a snapshot was made of, so fragments of a key are kept together or not at all. A tally whose
group is gone can't be told from one in use: those go by age, and a group that needs its own again is counted once more.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.errors import RookeryError
from pipeline.tables.object_names import ObjectName, object_name
from pipeline.tables.snapshots import Manifest, Snapshots

DAY_SECONDS = 86400.0
AT_WORK_SECONDS = 3600.0  # since a run's last beat: more than a store that is away keeps it from the next one
FOREVER = {  # kinds that are small and that something may always ask for
    "stream lengths": "known lengths of compressed files",
    "editions": "which fragment of a unit counts",
    "manifests": "the table's history",
    "notes of what was vacuumed": "the table's history",
    "candidates": "the table's history",
    "hints": "where to look first",
    "erasures": "what must not come back",
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


@dataclass(frozen=True, slots=True)
class Needs:
    """What a table needs at a moment.

    `snapshots`, `candidates`: the scoring key of each kept snapshot and of each candidate. `given_up`: snapshots that
    are neither kept nor vacuumed yet. `at_work`: the keys that runs work on. `is_publishing`: a run may be about to
    publish.
    """

    now: float
    retention: Retention
    newest: int
    snapshots: Mapping[int, str]
    given_up: frozenset[int]
    candidates: Mapping[int, str]
    at_work: frozenset[str]
    is_publishing: bool

    def reason(self, name: ObjectName, modified: float) -> str | None:
        """Says what needs an object, in words; None where nothing does.

        `modified`: when it was written, in seconds by the store's clock; 0 where the store doesn't tell.
        """
        match name.kind:
            case "data files" | "errors files" | "claims":
                return self._snapshot_s(name.snapshot)
            case "fragments":
                return self._key_s(name.scoring_key) or self._recent(modified)
            case "index":
                return self._key_s(name.scoring_key)
            case "tallies":
                return self._recent(modified)
            case "scratch":
                return "runs at work" if self.at_work else None
            case "marks" | "heartbeats":
                return "runs at work" if name.scoring_key in self.at_work else None
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

    def _key_s(self, key: str | None) -> str | None:
        if key in self.snapshots.values():
            return "scoring keys of kept snapshots"
        if key in self.candidates.values():
            return "scoring keys of candidates"
        if key in self.at_work:
            return "runs at work"
        return "a run that may be publishing" if self.is_publishing else None

    def _recent(self, modified: float) -> str | None:
        is_recent = not modified or modified > self.now - self.retention.days * DAY_SECONDS
        return f"the last {self.retention.days} days" if is_recent else None


class NeedsReader:
    """Reads what a table needs, now and again; a manifest, which never changes in this, is read once."""

    def __init__(self, snapshots: Snapshots, retention: Retention) -> None:
        self._table = snapshots
        self._retention = retention
        self._published: dict[int, _Published] = {}

    def read(self, now: float) -> Needs:
        """Reads what is needed at a moment of the store's clock, in seconds.

        Raises ConfigError for a manifest of a newer version, RookeryError for one that names files elsewhere.
        """
        candidates = self._candidates()  # first: one that is gone by now is among the published
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
        return Needs(
            now=now,
            retention=self._retention,
            newest=newest,
            snapshots=kept,
            given_up=frozenset(manifests.keys() - gone.keys() - kept.keys()),
            candidates={number: key for number, key in candidates.items() if number not in manifests},
            at_work=frozenset(self._keys_at_work(now)),
            is_publishing=any(not claim or claim > now - self._retention.grace_days * DAY_SECONDS for claim in claims),
        )

    def _kept(self, manifests: dict[int, float], now: float) -> dict[int, str]:
        kept, complete = {}, 0
        for number in sorted(manifests, reverse=True):
            published = self._read(number, manifests[number])
            complete += not published.partial
            is_counted = not published.partial and complete <= self._retention.snapshots
            if is_counted or published.moment > now - self._retention.days * DAY_SECONDS:
                kept[number] = published.scoring_key
        return kept

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

    def _candidates(self) -> dict[int, str]:
        candidates = {}
        for file in self._table.storage.find(self._table.uri("_candidates")):
            name = object_name("_candidates/" + file.uri.rpartition("/")[2])
            if name is None or name.snapshot is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                candidates[name.snapshot] = str(json.loads(self._table.storage.read(file.uri))["scoring_key"])
        return candidates

    def _keys_at_work(self, now: float) -> set[str]:
        storage = self._table.storage
        folders = storage.folders_in(self._table.uri("_units"))
        beats = (file for folder in folders for file in storage.find(f"{folder}/runs"))
        return {beat.uri.split("/")[-3] for beat in beats if not beat.modified or now - beat.modified < AT_WORK_SECONDS}
