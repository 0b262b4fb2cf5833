"""What a load is made of: which files are read, which documents go, and what the table must hold afterwards.

    the whole snapshot      every row of the table goes, the rows of all files come
    the difference from N   rows go whose ids are in files that one of the two snapshots has and the other has not; then
                            the rows of files that are new come

So it comes to the same if it is done twice. Of a difference no ids are compared beforehand: files whose bytes are
equal hold equal documents, over any number of snapshots between the two, rollbacks too.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, RookeryError
from pipeline.messages import listed
from pipeline.tables.repeatable_parquet import read_parquet
from pipeline.tables.rows_digest import DIGESTED, rows_digest
from pipeline.tables.snapshots import Manifest, SnapshotFile, Snapshots

FILES_TOGETHER = 1000  # Snowflake's limit, and
CHARACTERS_TOGETHER = 100_000  # of their URIs: statements of Athena and ClickHouse end at 262,144 bytes
PLAIN = ("string", "int32", "int64", "bool", "float", "double")  # spelled alike by every reader of a file


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Files of one partition that a statement reads together."""

    partition: tuple[tuple[str, str | None], ...]
    uris: tuple[str, ...]


@dataclass(frozen=True)
class Load:
    """What brings a warehouse's table from nothing, or from snapshot `since`, to a snapshot.

    `columns`: those of the files, then the partition's. `added`, `removed`: files whose rows come, and files of
    snapshot `since` whose documents go. `rows`, `digest`: of all predictions of the snapshot.
    """

    snapshots: Snapshots
    manifest: Manifest
    since: Manifest | None
    columns: pa.Schema
    added: tuple[SnapshotFile, ...]
    removed: tuple[SnapshotFile, ...]
    rows: int
    digest: int

    @property
    def table(self) -> str:
        """The table's name in a warehouse: its folder's."""
        return self.table_uri.rpartition("/")[2]

    @property
    def table_uri(self) -> str:
        """The folder's absolute URI, without a slash at its end."""
        return self.snapshots.storage.canonical(self.snapshots.table_uri).rstrip("/")

    @property
    def body(self) -> list[pa.Field]:
        """The columns that are in the files."""
        return [field for field in self.columns if field.name not in self.manifest.partition_by]

    @property
    def partitions(self) -> list[pa.Field]:
        """The columns that are in the files' paths only."""
        return [field for field in self.columns if field.name in self.manifest.partition_by]

    def batches(self, files: Iterable[SnapshotFile]) -> Iterator[FileBatch]:
        """Splits files, which are some thousands, into what statements read."""
        partitions: dict[tuple[tuple[str, str | None], ...], list[str]] = defaultdict(list)
        for file in files:
            partitions[tuple(file.partition.items())].append(f"{self.table_uri}/{file.path}")
        for partition, uris in partitions.items():
            start, characters = 0, 0
            for n, uri in enumerate(uris):
                characters += len(uri)
                if n - start == FILES_TOGETHER or characters > CHARACTERS_TOGETHER:
                    yield FileBatch(partition, tuple(uris[start:n]))
                    start, characters = n, len(uri)
            yield FileBatch(partition, tuple(uris[start:]))


def plan_load(snapshots: Snapshots, since: int | None = None) -> Load:
    """Plans to load the newest snapshot, whole or as what it has changed since snapshot `since`.

    Files that an older version wrote, of which the manifest has no digest, are read for it.

    Raises:
        ConfigError: there is no snapshot, or no such difference: of a snapshot that is unknown, newer, partial or
            vacuumed, has other columns or ids that several documents share.
        StorageError: the store failed; run again.
    """
    manifest = snapshots.latest()
    if manifest is None:
        raise snapshots.nothing_published("complete snapshot")
    files = _data_files(manifest)
    if not files:
        raise ConfigError(f"{snapshots.table_uri}: snapshot {manifest.snapshot} has no predictions to load")
    before = None if since is None else _older(snapshots, manifest, since)
    kept = {_brought(file) for file in _data_files(before)} & {_brought(file) for file in files}
    digests = [_digest(snapshots, file) for file in files]
    return Load(
        snapshots=snapshots,
        manifest=manifest,
        since=before,
        columns=_columns(snapshots, manifest, files[0]),
        added=tuple(file for file in files if _brought(file) not in kept),
        removed=tuple(file for file in _data_files(before) if _brought(file) not in kept),
        rows=sum(file.rows for file in files),
        digest=sum(digests),
    )


def _data_files(manifest: Manifest | None) -> list[SnapshotFile]:
    return [file for file in manifest.files if file.kind == "data"] if manifest else []


def _brought(file: SnapshotFile) -> tuple[str, tuple[tuple[str, str | None], ...]]:
    """What a file brings into a table: its bytes, and the values in its path."""
    return file.sha256, tuple(file.partition.items())


def _older(snapshots: Snapshots, newest: Manifest, since: int) -> Manifest:
    """Reads the snapshot that a difference begins with."""
    before = snapshots.find(since)
    table, whole = snapshots.table_uri, "; load the whole snapshot instead, without --since"
    if before is None:
        raise ConfigError(f"{table}: has no snapshot {since}; it has {listed([*map(str, snapshots.published())])}")
    if before.partial:
        raise ConfigError(f"{table}: snapshot {since} is partial, of a run with --limit{whole}")
    columns = [[(one["name"], one["type"]) for one in each.columns] for each in (before, newest)]
    if columns[0] != columns[1] or before.partition_by != newest.partition_by:
        raise ConfigError(f"{table}: snapshots {since} and {newest.snapshot} have different columns{whole}")
    for manifest in (before, newest):
        if count := manifest.counts["duplicate_ids"]:
            raise ConfigError(
                f"{table}: snapshot {manifest.snapshot} has {count:,} ids that several documents share, so that a "
                f"document can't be found by its id{whole}"
            )
    return before


def _columns(snapshots: Snapshots, manifest: Manifest, file: SnapshotFile) -> pa.Schema:
    """Reads the types in a file's footer, which alone has nested ones, and checks them against the manifest."""
    uri = snapshots.uri(file.path)
    stored = snapshots.storage.stat(uri)
    if stored is None:
        raise ConfigError(f"{uri}: is gone, so snapshot {manifest.snapshot} can't be loaded")
    with snapshots.storage.open(stored) as opened:
        body = pq.read_schema(opened)
    types = {column["name"]: column["type"] for column in manifest.columns}
    partitions = [pa.field(name, pa.type_for_alias(types[name])) for name in manifest.partition_by]
    columns = pa.schema([*body, *partitions])
    wrong = [field.name for field in body if types.get(field.name) in PLAIN and str(field.type) != types[field.name]]
    if columns.names != list(types) or wrong:
        raise RookeryError(
            f"{uri}: has columns {', '.join(f'{field.name} {field.type}' for field in body)}; expected those of its "
            f"manifest, {', '.join(f'{name} {type_}' for name, type_ in types.items())}"
        )
    return columns


def _digest(snapshots: Snapshots, file: SnapshotFile) -> int:
    if file.rows_digest is not None:
        return file.rows_digest
    computed = rows_digest(read_parquet(snapshots.storage.read(snapshots.uri(file.path)), list(DIGESTED)))
    assert computed is not None, f"{file.path}: has no column of {DIGESTED}"
    return computed
