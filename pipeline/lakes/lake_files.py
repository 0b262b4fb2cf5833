"""The files of a lake table, and what a commit changes of them.

    <location>/data/<snapshot>-<sha256>-<token>.parquet

A lake table has files of its own, copies of a snapshot's, below a prefix that belongs to its engine alone: what an
engine's orphan removal, expiry or vacuum deletes there is never a table's own file. A name says which file's bytes it
was copied from, so that what a lake lacks and what it has too much follows from the names alone, whatever lies between:
snapshots that were skipped, a rollback, an erasure, a table that was made anew. The token is drawn anew by each process
that commits: a path that was ever removed, or lost, is never added again, even for the same bytes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.errors import RookeryError
from pipeline.identity import digest
from pipeline.tables.snapshots import Manifest, SnapshotFile

NAME = re.compile(r"\d{20}-(?P<sha256>[0-9a-f]{64})-[0-9a-f]{16}\.parquet")
PREFIX = "rookery."  # of the properties by which a commit is known


class CommitIds(NamedTuple):
    """By what a commit to a lake table is known: which snapshot of which table it holds, and exactly which files.

    `files`, because an erasure replaces files of a snapshot under its number and content.
    """

    table: str  # canonical URI
    snapshot: str
    content: str
    scoring_key: str
    decision_key: str
    files: str

    @classmethod
    def of(cls, table_uri: str, manifest: Manifest) -> "CommitIds":
        """Gives the ids of a snapshot."""
        files = digest("lake files/1", sorted(wanted_files(manifest)))
        keys = (manifest.content, manifest.scoring_key, manifest.decision_key)
        return cls(table_uri, str(manifest.snapshot), *keys, files)

    @classmethod
    def read(cls, properties: Mapping[str, object]) -> "CommitIds | None":
        """Reads them from a commit's properties; None where it is not one of ours."""
        values = [properties.get(PREFIX + name) for name in cls._fields]
        return cls(*map(str, values)) if all(value is not None for value in values) else None

    def properties(self) -> dict[str, str]:
        """Writes them as a commit's properties: `rookery.table`, `rookery.snapshot` and so on."""
        return {PREFIX + name: value for name, value in self._asdict().items()}


@dataclass(frozen=True, slots=True)
class LakeVersion:
    """What a lake table holds.

    `files`: rows by path; -1 where rows of a file are deleted, or can't be counted. `ids`: of the newest commit of
    ours, current or not. `owner`: the table that it belongs to. `handle`: the library's own, for the commit.
    """

    location: str
    files: Mapping[str, int]
    ids: CommitIds | None
    owner: str | None
    handle: Any


@dataclass(frozen=True, slots=True)
class LakeChange:
    """What makes a lake table hold a snapshot: `added` by path, and the paths that go."""

    added: Mapping[str, SnapshotFile]
    removed: frozenset[str]


def wanted_files(manifest: Manifest) -> dict[str, SnapshotFile]:
    """Gives a snapshot's predictions by their digests."""
    files = [file for file in manifest.files if file.kind == "data"]
    wanted = {file.sha256: file for file in files}
    if len(wanted) < len(files):
        raise RookeryError(f"snapshot {manifest.snapshot}: two files of it have the same bytes")
    return wanted


def difference(version: LakeVersion, manifest: Manifest, location: str, token: str) -> LakeChange:
    """Compares what a lake table holds with a snapshot, by the digests in names. Names what is added."""
    wanted, kept, removed = wanted_files(manifest), set(), set()
    for path in sorted(version.files):
        sha256 = source_digest(path)
        if sha256 in wanted and sha256 not in kept and version.files[path] == wanted[sha256].rows:
            kept.add(sha256)
        else:
            removed.add(path)
    missing = {sha256: file for sha256, file in wanted.items() if sha256 not in kept}
    name = f"{location.rstrip('/')}/data/{manifest.snapshot:020d}-{{}}-{token}.parquet"
    return LakeChange({name.format(sha256): file for sha256, file in missing.items()}, frozenset(removed))


def unsigned_column(schema: pa.Schema) -> str | None:
    """Names a column with numbers above what a signed one of that size holds, which engines read as negative ones."""
    return next((field.name for field in schema if _has_unsigned(field.type)), None)


def _has_unsigned(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_unsigned(kind.field(i).type) for i in range(kind.num_fields))
    return kind in (pa.uint32(), pa.uint64())


def source_digest(path: str) -> str | None:
    """Reads from a path which file it is a copy of; None for a file that an engine or somebody else wrote."""
    match = NAME.fullmatch(path.rpartition("/")[2])
    return match["sha256"] if match else None
