"""Brings a lake table to a table's newest snapshot, in one commit, whatever it holds.

What is to be done follows from what the lake table holds when it is loaded, so that a commit is repeatable: killed at
any step, or with its outcome unknown, it is begun anew, and finds that there is nothing left to do. The lake is loaded
before the table's newest snapshot is read: a commit goes through only while the lake is as it was loaded, so nobody who
read an older snapshot can put it over a newer one. Two that commit at once both end with the newest.

Libraries' own retries are not used: they would add the same files to what somebody else has committed meanwhile.
"""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import uniform
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, ConflictError, RookeryError
from pipeline.lakes.lake_files import CommitIds, LakeChange, LakeVersion, difference
from pipeline.storage.objects import TRANSFERS, Storage
from pipeline.storage.store_errors import explain
from pipeline.tables.repeatable_parquet import parquet_bytes, read_parquet
from pipeline.tables.snapshots import Manifest, SnapshotFile, Snapshots

COMMIT_TRIES = 10  # of a commit that others keep overtaking
LONGEST_PAUSE = 2.0  # seconds between two of them
REWRITTEN_TOGETHER = 2  # files, each of which is held in memory


class Lake(Protocol):
    """A table of another system. What its methods raise is of pipeline.errors."""

    @property
    def keeps_partitions(self) -> bool:
        """Whether it has partitions' values beside its files; else they have to be columns in them."""

    @property
    def name(self) -> str:
        """What people call it."""

    def record(self) -> dict[str, Any]:
        """Writes it as a section `publish` of a job file, without secrets, for those who don't have the file."""

    def load(self) -> LakeVersion | None:
        """Reads what it holds now; None where there is no such table."""

    def create(self, schema: pa.Schema, partition_by: list[str], table_uri: str) -> None:
        """Makes it, without rows. Raises ConflictError where somebody else just did."""

    def commit(self, version: LakeVersion, change: LakeChange, ids: CommitIds, schema: pa.Schema | None) -> None:
        """Commits a change on top of exactly the version that was loaded. `schema`: of what is added, if anything is.

        Raises ConflictError where it is no longer the newest, UnavailableError where the outcome isn't known.
        """

    def named(self) -> set[str]:
        """Gives the URI of every file that a version names which can still be read."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a lake table holds after a commit of ours, and how many files that has added and removed."""

    lake: str
    snapshot: int
    rows: int
    added: int
    removed: int


@dataclass(slots=True)
class _Attempt:
    lake: Lake
    snapshots: Snapshots
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    copied: set[str] = field(default_factory=set)
    tried: Committed | None = None  # it may have been

    def bring(self) -> Committed | None:
        while True:
            version = self.lake.load() or self._created()  # first, see above
            manifest = self.snapshots.latest()
            if version is None or manifest is None:
                return None
            self._check(version)
            ids = CommitIds.of(self._table_uri, manifest)
            change = difference(version, manifest, version.location, self.token)
            if version.ids == ids or not (change.added or change.removed):
                return self._verified(change, manifest)
            self._copy(change, manifest)
            rows, added = manifest.counts["predictions"], len(change.added)
            self.tried = Committed(self.lake.name, manifest.snapshot, rows, added, len(change.removed))
            schema = self._schema(list(change.added.values()), manifest) if change.added else None
            self.lake.commit(version, change, ids, schema)

    @property
    def _table_uri(self) -> str:
        return self.snapshots.storage.canonical(self.snapshots.table_uri).rstrip("/")

    def _created(self) -> LakeVersion | None:
        manifest = self.snapshots.latest()
        files = [file for file in manifest.files if file.kind == "data"] if manifest else []
        if manifest and files:
            self.lake.create(self._schema(files[:1], manifest), manifest.partition_by, self._table_uri)
        return self.lake.load()

    def _check(self, version: LakeVersion) -> None:
        check_own_lake(self.lake, version, self.snapshots)

    def _verified(self, change: LakeChange, manifest: Manifest) -> Committed | None:
        if self.tried and (change.added or change.removed):
            path = next(iter(change.removed or change.added))
            raise RookeryError(
                f"{self.lake.name}: was read back after its commit, and is not snapshot {manifest.snapshot} of "
                f"{self.snapshots.table_uri}: {len(change.added):,} files are missing or have other rows, "
                f"{len(change.removed):,} are not the snapshot's (such as {path}). Somebody else may write to it"
            )
        return self.tried

    def _copy(self, change: LakeChange, manifest: Manifest) -> None:
        storage, missing = self.snapshots.storage, [path for path in change.added if path not in self.copied]
        is_rewritten = bool(manifest.partition_by) and not self.lake.keeps_partitions
        schemes = {storage.canonical(uri).partition("://")[0] for uri in (self.snapshots.table_uri, *missing[:1])}
        is_copied_by_store = not is_rewritten and len(schemes) == 1 and schemes != {"file"}

        def copy(path: str) -> None:
            file = change.added[path]
            source = self.snapshots.uri(file.path)
            if is_copied_by_store:
                storage.copy(source, path)
            else:
                data = storage.read(source)
                storage.put(path, _with_partition(data, file) if is_rewritten else data)

        self._each(copy, missing, TRANSFERS if is_copied_by_store else REWRITTEN_TOGETHER)
        self.copied |= {*missing}

    def _schema(self, files: list[SnapshotFile], manifest: Manifest) -> pa.Schema:
        """Of the files that are added, with the partitions' keys; a column may be missing in some of them."""
        filesystem, root = self.snapshots.storage.filesystem(self.snapshots.table_uri)

        def read(file: SnapshotFile) -> pa.Schema:
            with explain(self.snapshots.uri(file.path)):
                return pq.read_schema(f"{root}/{file.path}", filesystem=filesystem)

        schemas = dict.fromkeys(self._each(read, files, TRANSFERS))
        try:
            unified = pa.unify_schemas([schema.remove_metadata() for schema in schemas])
        except pa.ArrowException as error:
            raise ConfigError(
                f"{self.snapshots.table_uri}: files of one snapshot have other columns: {error}"
            ) from error
        fields = [field.with_nullable(True) for field in unified]
        return pa.schema([*fields, *(pa.field(key, pa.string()) for key in manifest.partition_by)])

    def _each(self, do: Callable[[Any], Any], items: list[Any], threads: int) -> list[Any]:
        try:
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(do, items))
        except FileNotFoundError as error:  # an erasure or a vacuum was at work: the next look sees what is there now
            raise ConflictError(
                f"{self.snapshots.table_uri}: a file of its newest snapshot is gone: {error}"
            ) from error


def commit_newest(lake: Lake, snapshots: Snapshots) -> Committed | None:
    """Makes a lake table hold a table's newest complete snapshot. Returns None where it already does.

    Raises:
        ConfigError: the lake table is somebody else's, lies where it may not, or can't have these columns.
        AccessError: its catalog or store refuses.
        ConflictError: others kept committing to it.
        RetryableError: catalog or store give no answer; run again.
    """
    attempt = _Attempt(lake, snapshots)
    pause = 0.05
    for left in reversed(range(COMMIT_TRIES)):
        try:
            return snapshots.storage.patiently("lake://", attempt.bring)
        except ConflictError as error:
            if not left:
                raise ConflictError(f"{error} (tried {COMMIT_TRIES} times); run again") from error
        time.sleep(uniform(0.5, 1) * pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    raise AssertionError("the last try returns or raises")


def is_own_lake(version: LakeVersion, snapshots: Snapshots) -> bool:
    """Tells whether a lake table belongs to a table."""
    return version.owner == snapshots.storage.canonical(snapshots.table_uri).rstrip("/")


def check_own_lake(lake: Lake, version: LakeVersion, snapshots: Snapshots) -> None:
    """Raises ConfigError for a lake table that is not this table's alone, or that lies inside it or around it."""
    storage, table_uri = snapshots.storage, snapshots.storage.canonical(snapshots.table_uri).rstrip("/")
    if not is_own_lake(version, snapshots):
        whose = f"is that of {version.owner}" if version.owner else "was made by somebody else"
        raise ConfigError(
            f"{lake.name}: {whose}; expected one that is {table_uri}'s alone, for each commit replaces all that it "
            f"holds. Name another one; or, if the table was moved, set its property rookery.table to {table_uri}; or, "
            "if this is a copy of that table, remove _lakes/ from it"
        )
    if storage.can_lie_in(version.location, table_uri):
        raise ConfigError(
            f"{lake.name}: lies at {version.location}, and the table at {table_uri}: neither may lie in the other, for "
            "each deletes what it doesn't know; name another warehouse or folder"
        )


def check_lake(lake: Lake, snapshots: Snapshots) -> None:
    """Says before any work what would keep a commit from going through. Raises as `commit_newest`."""
    if version := lake.load():
        check_own_lake(lake, version, snapshots)


def _with_partition(data: bytes, file: SnapshotFile) -> bytes:
    rows = read_parquet(data)
    for key, value in file.partition.items():
        rows = rows.append_column(key, pa.repeat(pa.scalar(value or None, pa.string()), len(rows)))
    return parquet_bytes(rows, sorted_by_id="id" in rows.schema.names)


def lake_file_uri(storage: Storage, location: str, path: str) -> str:
    """Gives the one spelling of a lake's file, which its log may name by a path below its location."""
    return storage.canonical(path if "://" in path or path.startswith("/") else f"{location.rstrip('/')}/{path}")
