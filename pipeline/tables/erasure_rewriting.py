"""Fragments, data files and manifests without erased documents: what publishing would have made without them."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.storage.objects import TRANSFERS
from pipeline.tables.changes import count_changes
from pipeline.tables.erased_ids import ErasedIds
from pipeline.tables.erased_records import ERASED_TEXT, without_erased_ids
from pipeline.tables.failures import count_failures, failures_of_snapshot, merge_failures
from pipeline.tables.groups import group_file
from pipeline.tables.repeatable_parquet import parquet_bytes, read_parquet
from pipeline.tables.score_histograms import sum_histograms
from pipeline.tables.snapshots import Changes, Failure, Manifest, SnapshotFile, Snapshots


class RewrittenFile(NamedTuple):
    """A file without the rows of erased documents, or None where it has no others; ids of the rows that went."""

    file: SnapshotFile | None
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Rewrites objects of one table without the documents of erased ids. Done twice, it comes to the same."""

    snapshots: Snapshots
    erased: ErasedIds

    def fragment(self, uri: str) -> None:
        """Replaces a fragment. Where it was removed meanwhile nothing is put."""
        with contextlib.suppress(FileNotFoundError):
            rows = read_parquet(self.snapshots.storage.read(uri))
            self.snapshots.storage.put(uri, parquet_bytes(self.erased.without_erased(rows)))

    def record(self, uri: str) -> None:
        """Replaces a run's report or record. Where it was removed meanwhile nothing is put."""
        with contextlib.suppress(FileNotFoundError):
            data = self.snapshots.storage.read(uri)
            self.snapshots.storage.put(uri, without_erased_ids(data, self.erased))

    def manifest(self, manifest: Manifest, sha256s: Iterable[str], parent: Manifest | None) -> Manifest:
        """Puts the new files of a snapshot beside the old ones, and gives the manifest that names them.

        Args:
            manifest: as it is.
            sha256s: of the files' bytes that hold erased ids.
            parent: the one that `manifest.parent` names, rewritten; None if it is gone.
        """
        holding = set(sha256s)
        gone: Counter[str] = Counter()
        files: list[SnapshotFile] = []
        old = [file for file in manifest.files if file.sha256 in holding]
        with ThreadPoolExecutor(TRANSFERS) as pool:
            rewritten = dict(zip((file.path for file in old), pool.map(self._file, old), strict=True))
        for file in manifest.files:
            new, ids = rewritten.get(file.path, (file, []))
            files += [new] if new else []
            gone.update(ids)
        if old:
            manifest = _counted(replace(manifest, files=files), gone)
        is_parent_rewritten = parent is not None and not {*manifest.removed} <= {file.path for file in parent.files}
        if parent and is_parent_rewritten:
            manifest = replace(manifest, removed=parent.paths_without(files))
        if old or is_parent_rewritten:
            manifest = replace(manifest, changes=self._changes(manifest, parent))
        return replace(manifest, failures=self._failures(manifest), run=self._scrubbed(manifest.run))

    def _file(self, file: SnapshotFile) -> RewrittenFile:
        storage = self.snapshots.storage
        try:
            rows = read_parquet(storage.read(self.snapshots.uri(file.path)))
        except FileNotFoundError:  # a vacuumed snapshot's
            return RewrittenFile(file, [])
        ids = rows["id"].to_pylist()
        is_erased = self.erased.holds(ids)
        gone = [id_ for id_, erased in zip(ids, is_erased.tolist(), strict=True) if erased]
        kept = rows.filter(pa.array(~is_erased))
        if not len(kept):
            return RewrittenFile(None, gone)
        built = group_file(file.kind, file.bucket, kept)
        path = f"{file.path.rpartition('/')[0]}/{built.name}"
        storage.put_if_absent(self.snapshots.uri(path), built.data)
        new = replace(
            file,
            path=path,
            rows=built.rows,
            bytes=len(built.data),
            sha256=built.sha256,
            labels=built.labels,
            unlabelled=built.unlabelled,
            scores=built.scores,
            documents_digest=built.documents_digest,
            rows_digest=built.rows_digest,
        )
        return RewrittenFile(new, gone)

    def _changes(self, manifest: Manifest, parent: Manifest | None) -> Changes | None:
        """Counted anew, if they were ever known: an erased document was in both, or in one of them."""
        if manifest.changes is None or (parent is None and manifest.parent is not None):
            return None
        return count_changes(self.snapshots, parent, manifest.files)

    def _failures(self, manifest: Manifest) -> list[Failure]:
        """The manifest's own, or counted anew where an erased document is the example, or one of them."""
        documents = sum(failure.documents for failure in manifest.failures)
        examples = [failure.example.get("id") for failure in manifest.failures]
        if documents == manifest.counts["errors"] and not self.erased.holds(examples).any():
            return manifest.failures
        try:
            tables = failures_of_snapshot(self.snapshots, manifest)
            return merge_failures(failure for failed in tables for failure in count_failures(failed))
        except FileNotFoundError:  # a vacuumed snapshot's
            return [replace(failure, example=self._scrubbed(failure.example)) for failure in manifest.failures]

    def _scrubbed(self, value: Any) -> Any:
        """Replaces each string that is an erased id: a job may name the one file of a document."""
        match value:
            case str():
                return ERASED_TEXT if self.erased.holds([value]).any() else value
            case list():
                return [self._scrubbed(item) for item in value]
            case dict():
                return {key: self._scrubbed(item) for key, item in value.items()}
        return value


def _counted(manifest: Manifest, gone: Counter[str]) -> Manifest:
    rows: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for file in manifest.files:
        rows[file.kind] += file.rows
        labels.update(file.labels)
    counts = {
        "documents": rows.total(),
        "predictions": rows["data"],
        "errors": rows["errors"],
        "unlabelled": sum(file.unlabelled for file in manifest.files),
        "duplicate_ids": manifest.counts["duplicate_ids"] - sum(count > 1 for count in gone.values()),
        "erased": manifest.counts["erased"] + gone.total(),
    }
    ordered = dict(sorted(labels.items()))
    scores = sum_histograms((file.scores for file in manifest.files), ordered)
    return replace(manifest, counts=manifest.counts | counts, labels=ordered, scores=scores)
