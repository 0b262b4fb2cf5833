"""What changed from a snapshot to the next, in documents: how many were added, changed, removed, and how many weren't.

A document is its id and the digest of its text. One whose id is new was added; one whose id is there with another
digest has changed; one whose id is gone was removed. A document without a prediction has no digest: two errors of one
id are unchanged, an error that became a prediction, or the reverse, has changed. Of an id that several documents have,
those with equal digests are unchanged, as many of the others as both snapshots have changed, and what is left over was
added or removed. So the figures always add up: unchanged + changed + added are the documents, and unchanged + changed +
removed those of the parent.

Files that hold the same documents on both sides are not looked at: those that were kept, and those that were written
anew because of another threshold or checkpoint. Of the others ids and digests are read, as 64 bits each, `mapped`
over a cluster, and joined in DuckDB on this machine's disk: 10⁹ documents on both sides are 32 GB there. Two of
n ids have the same 64 bits with a probability of n²/2⁶⁵: of 10⁹, 0.03 pairs are expected.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import StorageError
from pipeline.mapped import Mapped
from pipeline.tables.failures import transfer_batches
from pipeline.tables.group_tallies import id_digests
from pipeline.tables.repeatable_parquet import read_parquet
from pipeline.tables.snapshots import Changes, Manifest, SnapshotFile, Snapshots

LIMITS = {"memory_limit": "2GB", "threads": 4}  # of DuckDB; what memory doesn't hold goes to disk
COUNTED = """
    with contents as (
        select id, content, count_if(is_after) as after, count_if(not is_after) as before
        from documents group by id, content
    ), ids as (
        select id, sum(after) as after, sum(before) as before, sum(least(after, before)) as unchanged
        from contents group by id
    )
    select sum(greatest(after - before, 0)), sum(least(after, before) - unchanged), sum(greatest(before - after, 0))
    from ids
"""


def count_changes(
    snapshots: Snapshots, parent: Manifest | None, files: list[SnapshotFile], mapped: Mapped = map
) -> Changes | None:
    """Counts what changed from a parent to a snapshot of stored `files`; None if files of the parent are gone.

    Raises StorageError, also where this machine's disk is full.
    """
    documents = sum(file.rows for file in files)
    before, after = _different(parent.files if parent else [], files)
    counts: tuple[int, int, int] | None = (sum(file.rows for file in after), 0, sum(file.rows for file in before))
    if before and after:
        read = DocumentReader(snapshots)
        with tempfile.TemporaryDirectory() as folder:
            counts = _joined(Path(folder), *(mapped(read, transfer_batches(some)) for some in (before, after)))
    if counts is None:
        return None
    added, changed, removed = counts
    return Changes(added=added, changed=changed, removed=removed, unchanged=documents - added - changed)


@dataclass(frozen=True, slots=True)
class DocumentReader:
    """Reads which documents files of a table hold."""

    snapshots: Snapshots

    def __call__(self, files: list[SnapshotFile]) -> pa.Table | None:
        """Gives 64 bits of each document's `id` and of its `content`, null for an error; None if a file is gone."""
        try:
            blobs = self.snapshots.storage.read_all([self.snapshots.uri(file.path) for file in files])
        except FileNotFoundError:
            return None
        return pa.concat_tables(_documents(file.kind, blob) for file, blob in zip(files, blobs, strict=True))


def _documents(kind: str, data: bytes) -> pa.Table:
    rows = read_parquet(data, ["id", "content_sha256"] if kind == "data" else ["id"])
    content = pa.nulls(len(rows), pa.uint64())
    if kind == "data":
        starts = "".join(pc.utf8_slice_codeunits(rows["content_sha256"], 0, 16).to_pylist())  # 64 bits in hex
        content = pa.array(np.frombuffer(bytes.fromhex(starts), ">u8").astype(np.uint64))
    return pa.table({"id": pa.array(id_digests(rows["id"].to_pylist())), "content": content})


def _different(
    before: Iterable[SnapshotFile], after: Iterable[SnapshotFile]
) -> tuple[list[SnapshotFile], list[SnapshotFile]]:
    """Files of each side whose documents no file of the other side has, one for one."""
    common = Counter(map(_contents, before)) & Counter(map(_contents, after))
    return _without(before, common), _without(after, common)


def _without(files: Iterable[SnapshotFile], common: Counter[str]) -> list[SnapshotFile]:
    left = common.copy()
    others = []
    for file in files:
        if left[_contents(file)]:
            left[_contents(file)] -= 1
        else:
            others.append(file)
    return others


def _contents(file: SnapshotFile) -> str:
    return file.documents_digest or file.sha256  # which an older version did not write


def _joined(
    folder: Path, before: Iterable[pa.Table | None], after: Iterable[pa.Table | None]
) -> tuple[int, int, int] | None:
    """How many documents were added, changed and removed; None where a table is missing."""
    try:
        with duckdb.connect(folder / "documents.duckdb", config=LIMITS) as connection:
            connection.execute("create table documents (id ubigint, content ubigint, is_after boolean)")
            for is_after, tables in ((False, before), (True, after)):
                for documents in tables:
                    if documents is None:
                        return None
                    connection.register("read", documents)
                    connection.execute(f"insert into documents select id, content, {is_after} from read")
            added, changed, removed = connection.execute(COUNTED).fetchall()[0]
            return int(added), int(changed), int(removed)
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise StorageError(
            f"{folder.parent}: no room to compare the documents with the snapshot before ({error}); make room there, "
            "or name another folder in TMPDIR, and run again: finished units are kept"
        ) from error
