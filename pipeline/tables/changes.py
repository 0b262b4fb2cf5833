"""What changed from a snapshot to the next, in documents: how many were added, changed, removed, and how many weren't.

A document is its id and the digest of its text. One whose id is new was added; one whose id is there with another
digest has changed; one whose id is gone was removed. A document without a prediction has no digest: two errors of one
id are unchanged, an error that became a prediction, or the reverse, has changed. Of an id that several documents have,
those with equal digests are unchanged, as many of the others as both snapshots have changed, and what is left over was
added or removed. So the figures always add up: unchanged + changed + added are the documents, and unchanged + changed +
removed those of the parent.

Files that hold the same documents on both sides are not looked at: those that were kept, and those that were written
anew because of another threshold or checkpoint. Of the others ids and digests are read, `mapped` over a cluster, and
counted here, of each 64 bits: two of n ids have the same with a probability of n²/2⁶⁵, and of 10⁹, 0.03 pairs are
expected. Up to 2.1 million documents (34 MB) stay in memory; more are appended to 256 files on this machine's disk by
the highest 8 bits of their ids, and each file is counted alone. 10⁹ documents on both sides are 32 GB there in files of
125 MB.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.mapped import Mapped
from pipeline.tables.failures import transfer_batches
from pipeline.tables.group_tallies import id_digests
from pipeline.tables.repeatable_parquet import read_parquet
from pipeline.tables.snapshots import Changes, Manifest, SnapshotFile, Snapshots
from pipeline.tables.spilling import full_disk_explained, spill_folder

DOCUMENTS_IN_MEMORY = 2**21  # of which sorting takes three times as much
# [N, 2]: digests of id and content, 0 for an error; the lowest bit of the second says of which side a document is
ContentDigests = npt.NDArray[np.uint64]
DOCUMENTS_SPILLED = "documents", 16  # bytes of each, to say so where the disk is full
SIDE = np.uint64(1)  # set: the snapshot's; not set: its parent's


def count_changes(
    snapshots: Snapshots, parent: Manifest | None, files: list[SnapshotFile], mapped: Mapped = map
) -> Changes | None:
    """Counts what changed from a parent to a snapshot of stored `files`; None if files of the parent are gone.

    Raises StorageError, also where this machine's disk is full.
    """
    documents = sum(file.rows for file in files)
    before, after = _different(parent.files if parent else [], files)
    counts = np.array([sum(file.rows for file in after), 0, sum(file.rows for file in before)])
    if before and after:
        read = DocumentReader(snapshots)
        with spill_folder(*DOCUMENTS_SPILLED) as folder:
            counter = ChangeCounter(folder)
            for side, some in ((0, before), (1, after)):
                for found in mapped(read, transfer_batches(some)):
                    if found is None:
                        return None
                    counter.add(found | np.array([0, side], np.uint64))
            counts = counter.counts()
    added, changed, removed = counts.tolist()
    return Changes(added=added, changed=changed, removed=removed, unchanged=documents - added - changed)


@dataclass(frozen=True, slots=True)
class DocumentReader:
    """Reads which documents files of a table hold."""

    snapshots: Snapshots

    def __call__(self, files: list[SnapshotFile]) -> ContentDigests | None:
        """Gives the documents, all as the parent's; None if a file is gone."""
        try:
            blobs = self.snapshots.storage.read_all([self.snapshots.uri(file.path) for file in files])
        except FileNotFoundError:
            return None
        return np.concatenate([_documents(file.kind, blob) for file, blob in zip(files, blobs, strict=True)])


class ChangeCounter:
    """Takes documents of both sides, in any order; tells how many were added, changed and removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: list[ContentDigests] = []
        self._held = 0

    def add(self, documents: ContentDigests) -> None:
        """Takes some. Raises StorageError where the folder's disk is full."""
        self._arrays.append(documents)
        self._held += len(documents)
        if self._held >= DOCUMENTS_IN_MEMORY:
            self._spill()

    def counts(self) -> npt.NDArray[np.int64]:
        """Gives the numbers of documents that were added, changed and removed."""
        if not any(self._folder.iterdir()):
            return _counted(np.concatenate(self._arrays))
        self._spill()
        parts = (np.fromfile(file, np.uint64).reshape(-1, 2) for file in sorted(self._folder.iterdir()))
        return np.asarray(np.sum([_counted(part) for part in parts], axis=0))

    def _spill(self) -> None:
        documents = np.concatenate([np.empty((0, 2), np.uint64), *self._arrays])
        self._arrays, self._held = [], 0
        numbers = documents[:, 0] >> np.uint64(56)
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(257))
        for number, (start, stop) in enumerate(pairwise(bounds.tolist())):
            if start < stop:
                with full_disk_explained(*DOCUMENTS_SPILLED), (self._folder / str(number)).open("ab") as file:
                    file.write(documents[order[start:stop]].tobytes())


def _counted(documents: ContentDigests) -> npt.NDArray[np.int64]:
    ascending = documents[np.lexsort((documents[:, 1], documents[:, 0]))]
    ids, contents = ascending[:, 0], ascending[:, 1] & ~SIDE
    is_after = (ascending[:, 1] & SIDE).astype(np.int64)
    starts = _starts(_differs(ids) | _differs(contents))  # of the documents with one id and one content
    after = np.add.reduceat(is_after, starts)
    before = np.add.reduceat(1 - is_after, starts)
    starts = _starts(_differs(ids[starts]))  # of those with one id
    after, before, unchanged = (np.add.reduceat(n, starts) for n in (after, before, np.minimum(after, before)))
    added, removed = np.maximum(after - before, 0), np.maximum(before - after, 0)
    return np.array([added.sum(), (np.minimum(after, before) - unchanged).sum(), removed.sum()])


def _differs(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which differ from the one before; the first one has none."""
    return np.asarray(values[1:] != values[:-1])


def _starts(differs: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.flatnonzero(np.concatenate([[True], differs]))


def _documents(kind: str, data: bytes) -> ContentDigests:
    rows = read_parquet(data, ["id", "content_sha256"] if kind == "data" else ["id"])
    contents = np.zeros(len(rows), np.uint64)
    if kind == "data":
        starts = "".join(pc.utf8_slice_codeunits(rows["content_sha256"], 0, 16).to_pylist())  # 64 bits in hex
        contents = np.maximum(np.frombuffer(bytes.fromhex(starts), ">u8").astype(np.uint64) & ~SIDE, 2)
    return np.column_stack([id_digests(rows["id"].to_pylist()), contents])


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
