"""Snapshots: complete published versions of the table.

    data/snapshot=<n>/[<key>=<value>/…]part-<bucket>-<sha16>.parquet
    errors/snapshot=<n>/…
    _snapshots/<n>.claim        whose folder data/snapshot=<n> is: put if absent, first
    _snapshots/<n>.units        which units it is made of, see snapshot_units.py
    _snapshots/<n>.files.txt    and others: lists of its data files, see file_lists.py
    _snapshots/<n>.json         the manifest: put if absent, last; it makes the snapshot visible
    _snapshots/<n>.vacuumed     beside the manifest, which stays: the snapshot's files are deleted, see vacuum.py
    _candidates/<n>.json        instead, the manifest of a snapshot that a gate held back
    _latest.json                a hint, never the truth

Every path in them is relative to the table, so that a table may be copied or moved. Where the corpus, the checkpoint
and the table itself were when a snapshot was published is its history, and stays as it was.

A claim holds the digest of the content that is to be published. A run that died is taken up by the next one with the
same content, under the same number, so that both leave the same bytes; a run with other content takes the next
number, so that two never write into one folder. A candidate's number is taken as long as it is there.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.errors import ConfigError, ConflictError, RookeryError
from pipeline.storage.objects import Storage
from pipeline.tables.file_lists import file_lists
from pipeline.terms import MANIFEST_VERSION

DIGITS = 20
NUMBERS = re.compile(r"\[\n\s*\d+(?:,\n\s*\d+)*\n\s*\]")  # no text is one: a line's end is escaped in it
VACUUMED = ".vacuumed"


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file of a snapshot, as the manifest lists it. `path` is relative to the table."""

    path: str
    kind: str  # data | errors
    state: str  # added | kept
    partition: dict[str, str | None]
    bucket: int
    rows: int
    bytes: int
    sha256: str
    inputs: str
    labels: dict[str, int]
    unlabelled: int = 0
    scores: dict[str, list[int]] = field(default_factory=dict)  # of each label, documents by SCORE_BINS bins
    documents_digest: str = ""  # of its ids and contents, whatever was predicted of them
    rows_digest: int | None = None  # as a warehouse computes it; None of errors, and where an older version wrote it


@dataclass(frozen=True, slots=True)
class Failure:
    """How many documents failed in a stage for a reason, and one of them: where it is, and why in words."""

    stage: str
    reason: str
    documents: int
    example: dict[str, Any]  # id, source_uri, source_position, message


@dataclass(frozen=True, slots=True)
class Changes:
    """How many documents a snapshot has that its parent had not, or had with another text; and how many it has lost.

    `unchanged` + `changed` + `added` are its documents, `unchanged` + `changed` + `removed` the parent's.
    """

    added: int
    changed: int
    removed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One published snapshot. `content` is equal for two snapshots exactly when their files are.

    `counts`: documents = predictions + errors; unlabelled, the predictions without a label; duplicate_ids, the ids
    that several documents have; erased, documents of the corpus that were left out; units; source_files. `labels`:
    how many documents have each, of which one may have several. `scores`: these documents by their score for the
    label, in SCORE_BINS bins; empty where not all files tell.
    """

    version: int
    snapshot: int
    parent: int | None  # `added`, `kept` and `removed` compare with this one
    partial: bool
    content: str
    scoring_key: str
    decision_key: str
    partition_by: list[str]
    counts: dict[str, int]
    labels: dict[str, int]
    files: list[SnapshotFile]
    removed: list[str]  # paths of the parent's files whose bytes are not in this snapshot
    run: dict[str, Any]  # who, when, with what; the only part that differs between two equal runs
    failures: list[Failure] = field(default_factory=list)  # most frequent first
    checkpoint: dict[str, Any] = field(default_factory=dict)  # where it was, digests, settings
    columns: list[dict[str, str]] = field(default_factory=list)  # of predictions: name, type, meaning
    error_columns: list[dict[str, str]] = field(default_factory=list)
    partition_columns: list[dict[str, str]] = field(default_factory=list)  # of both, those that lie in paths alone
    scores: dict[str, list[int]] = field(default_factory=dict)
    changes: Changes | None = None  # None where it is not known, as of a partial snapshot

    def paths_without(self, files: Iterable[SnapshotFile]) -> list[str]:
        """Gives the paths of its files whose bytes are in none of `files`: what a snapshot of these has removed."""
        digests = {file.sha256 for file in files}
        return [file.path for file in self.files if file.sha256 not in digests]

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Reads a manifest of this version or an older one. Raises ConfigError for a newer one."""
        tree = json.loads(data)
        if tree["version"] > MANIFEST_VERSION:
            raise ConfigError(
                f"snapshot {tree['snapshot']} has a manifest of version {tree['version']}, and this Rookery "
                f"knows {MANIFEST_VERSION} at most; install the newer one that published it"
            )
        tree["counts"] = {"unlabelled": 0, "duplicate_ids": 0, "erased": 0} | tree["counts"]
        tree["files"] = [SnapshotFile(**file) for file in tree["files"]]
        tree["failures"] = [Failure(**failure) for failure in tree.get("failures", [])]
        tree["changes"] = Changes(**tree["changes"]) if tree.get("changes") else None
        return cls(**tree)

    def dump(self) -> bytes:
        """Writes the manifest as JSON, with each list of numbers on one line."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        return NUMBERS.sub(lambda numbers: "".join(numbers[0].split()), text).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The published versions of one table."""

    storage: Storage
    table_uri: str

    def uri(self, path: str) -> str:
        """Names an object by its path in the table."""
        return f"{self.table_uri.rstrip('/')}/{path}"

    def manifest_uri(self, snapshot: int) -> str:
        """Names a snapshot's manifest."""
        return self.uri(_manifest_path(snapshot))

    def units_uri(self, snapshot: int) -> str:
        """Names the list of a snapshot's units."""
        return self.uri(f"_snapshots/{_padded(snapshot)}.units")

    def folder(self, kind: str, snapshot: int) -> str:
        """Names the folder, relative to the table, of a snapshot's files of a kind (data or errors)."""
        return f"{kind}/snapshot={_padded(snapshot)}/"

    def published(self) -> list[int]:
        """Lists the numbers of the visible snapshots, ascending; vacuumed ones, of which the manifest is left, too."""
        return _numbers(self._names(), ".json")

    def vacuumed(self) -> list[int]:
        """Lists the numbers of the snapshots whose files are deleted, ascending."""
        return _numbers(self._names(), VACUUMED)

    def candidates(self) -> list[int]:
        """Lists the numbers of what a gate held back and nobody has let through, ascending."""
        return sorted({*_numbers(self._names("_candidates"), ".json")} - {*self.published()})

    def candidate_uri(self, snapshot: int) -> str:
        """Names a candidate's manifest."""
        return self.uri(f"_candidates/{_padded(snapshot)}.json")

    def mark_vacuumed(self, snapshot: int, note: dict[str, Any]) -> None:
        """Says for good that a snapshot's files are deleted, before they are; `note`: when, `vacuumed_at`, by what."""
        self.storage.put_if_absent(self._vacuumed_uri(snapshot), json.dumps(note, indent=1).encode() + b"\n")

    def read(self, snapshot: int) -> Manifest:
        """Reads a manifest. Raises FileNotFoundError, or ConfigError for one of a newer version."""
        return Manifest.parse(self.storage.read(self.manifest_uri(snapshot)))

    def find(self, snapshot: int | None = None) -> Manifest | None:
        """Reads a snapshot by its number, or the newest complete one; None if there is none.

        Raises ConfigError for one that was vacuumed.
        """
        if snapshot is None:
            return self.latest()
        names = self._names()
        if snapshot in _numbers(names, VACUUMED):
            when = json.loads(self.storage.read(self._vacuumed_uri(snapshot)))["vacuumed_at"]
            raise ConfigError(
                f"{self.table_uri}: snapshot {snapshot} was vacuumed at {when}: its files are deleted, its manifest "
                "alone is left; choose another one: `rookery snapshots` lists them"
            )
        return self.read(snapshot) if snapshot in _numbers(names, ".json") else None

    def get(self, snapshot: int | None = None) -> Manifest:
        """Reads a snapshot by its number, or the newest complete one. Raises ConfigError, also where there is none."""
        manifest = self.find(snapshot)
        if manifest is None:
            raise self.nothing_published(f"snapshot {snapshot}" if snapshot is not None else "complete snapshot")
        return manifest

    def nothing_published(self, expected: str) -> ConfigError:
        """Makes the error for a snapshot that isn't there: says which are, or what lies there where none was ever."""
        if there := ", ".join(map(str, self.published())):
            return ConfigError(f"{self.table_uri}: has no {expected}; it has {there}: `rookery snapshots` lists them")
        place = f"expected the folder that table.uri of a job names{self._other_kind()}"
        return ConfigError(f"{self.table_uri}: has no {expected}; {place}")

    def _other_kind(self) -> str:
        folder = self.table_uri.rstrip("/")
        if self.storage.stat(folder) and not self.storage.is_folder(folder):
            return ", and this is a file"
        kinds = {"_delta_log": "a Delta table", "metadata": "an Iceberg table", "config.json": "a checkpoint"}
        for name, kind in kinds.items():
            if self.storage.is_folder(f"{folder}/{name}") or self.storage.stat(f"{folder}/{name}"):
                return f", and this looks like {kind}"
        return "" if self.storage.is_folder(folder) else ", and nothing is there"

    def latest(self, *, partial: bool = False) -> Manifest | None:
        """Reads the newest snapshot that is complete, or partial, and not vacuumed; None if there is none."""
        names = self._names()
        gone = {*_numbers(names, VACUUMED)}
        for snapshot in reversed(_numbers(names, ".json")):
            if snapshot in gone:
                continue
            manifest = self.read(snapshot)
            if manifest.partial == partial:
                return manifest
        return None

    def claim(self, content: str) -> int:
        """Claims the number under which this content is to be published, and whose folder only it may write."""
        newest = max(self.published(), default=0)
        claims = [n for n in _numbers(self._names(), ".claim") if n > newest]
        for snapshot in claims:
            if self.storage.read(self._claim_uri(snapshot)) == content.encode():
                return snapshot
        snapshot = max([newest, *claims, *self.candidates()]) + 1
        while not self.storage.put_if_absent(self._claim_uri(snapshot), content.encode()):
            snapshot += 1
        return snapshot

    def publish(self, manifest: Manifest) -> Manifest:
        """Makes a snapshot visible whose files are all there. Returns what is visible under its number."""
        if problem := self.damage(manifest):
            raise RookeryError(f"{problem}; nothing was published")
        self.put_file_lists(manifest)
        uri = self.manifest_uri(manifest.snapshot)
        if not self.storage.put_if_absent(uri, manifest.dump()):
            there = self.read(manifest.snapshot)
            if there.content != manifest.content:
                self.put_file_lists(there)
                raise ConflictError(f"{uri}: another run published other content under this number; run again")
            manifest = there  # the same job, run twice at once: the other one was first
        if not manifest.partial:
            self.point_to_latest()
        return manifest

    def put_file_lists(self, manifest: Manifest) -> None:
        """Writes the lists of a snapshot's data files, as its manifest names them now."""
        table_uri = self.storage.canonical(self.table_uri).rstrip("/")
        for ending, data in file_lists(table_uri, manifest.files, manifest.removed).items():
            self.storage.put(self.uri(f"_snapshots/{_padded(manifest.snapshot)}{ending}"), data)

    def point_to_latest(self) -> None:
        """Makes the hint name the newest complete snapshot.

        A run that died may have left it behind, and of two that publish at once the older may write it last: so it is
        looked at again until it is right.
        """
        while (latest := self.latest()) and self._hint() != (hint := self._hint_for(latest)):
            self.storage.put(self.uri("_latest.json"), hint)

    def _hint(self) -> bytes | None:
        try:
            return self.storage.read(self.uri("_latest.json"))
        except FileNotFoundError:
            return None

    def _hint_for(self, manifest: Manifest) -> bytes:
        hint = {
            "snapshot": manifest.snapshot,
            "manifest": _manifest_path(manifest.snapshot),
            "data": self.folder("data", manifest.snapshot),
        }
        return json.dumps(hint, indent=1).encode() + b"\n"

    def damage(self, manifest: Manifest) -> str | None:
        """Says which file of a snapshot, published or not, is not as long as it should be; None if all are."""
        table_uri = self.storage.canonical(self.table_uri).rstrip("/")
        kinds = sorted({file.kind for file in manifest.files})
        sizes = {
            stored.uri: stored.size
            for kind in kinds
            for stored in self.storage.find(self.uri(self.folder(kind, manifest.snapshot)))
        }
        for file in manifest.files:
            size = sizes.get(f"{table_uri}/{file.path}")
            if size != file.bytes:
                there = "nothing" if size is None else f"{size:,} bytes"
                return f"{self.uri(file.path)}: expected {file.bytes:,} bytes, found {there}"
        return None

    def _claim_uri(self, snapshot: int) -> str:
        return self.uri(f"_snapshots/{_padded(snapshot)}.claim")

    def _vacuumed_uri(self, snapshot: int) -> str:
        return self.uri(f"_snapshots/{_padded(snapshot)}{VACUUMED}")

    def _names(self, folder: str = "_snapshots") -> list[str]:
        return [file.uri.rpartition("/")[2] for file in self.storage.find(self.uri(folder))]


def _numbers(names: list[str], ending: str) -> list[int]:
    stems = [name.removesuffix(ending) for name in names if name.endswith(ending)]
    return sorted(int(stem) for stem in stems if stem.isdigit() and len(stem) == DIGITS)


def _manifest_path(snapshot: int) -> str:
    return f"_snapshots/{_padded(snapshot)}.json"


def _padded(snapshot: int) -> str:
    return f"{snapshot:0{DIGITS}d}"
