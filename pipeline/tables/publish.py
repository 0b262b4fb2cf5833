"""Fragments -> a published snapshot. Everything up to the manifest is invisible and repeatable.

1. group the units; their inputs' digests are the snapshot's content
2. nothing to do if the newest snapshot has this content
3. stop if more documents failed than the job allows
4. claim a number; copy the files whose inputs the parent has, write the others
5. check rows and files; put the manifest
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.errors import ConflictError, RetryableError, RookeryError
from pipeline.tables.failures import check_budget
from pipeline.tables.fragments import Fragments
from pipeline.tables.groups import Decision, Group, SourceUnit, TableLayout, build
from pipeline.tables.snapshots import MANIFEST_VERSION, Manifest, SnapshotFile, Snapshots

ATTEMPTS = 20  # other runs that may publish while this one does, before it gives up


@dataclass(frozen=True)
class Publication:
    """What a run wants readers to see."""

    units: tuple[SourceUnit, ...]
    layout: TableLayout
    decision: Decision
    scoring_key: str
    partial: bool
    max_errors: int | float | None = None  # no part of the content: it decides whether, not what

    @cached_property
    def groups(self) -> list[Group]:
        return self.layout.groups(self.units)

    @cached_property
    def content(self) -> str:
        """Digest of everything in the snapshot but its number."""
        inputs = [self._inputs(group) for group in self.groups]
        keys = [self.scoring_key, self.decision.key, list(self.layout.partition_by), self.partial]
        return hashlib.sha256(json.dumps([inputs, keys]).encode()).hexdigest()

    def _inputs(self, group: Group) -> list[Any]:
        return [group.folder, group.bucket, group.inputs(self.layout, self.decision.key)]


def is_current(snapshots: Snapshots, publication: Publication) -> Manifest | None:
    """The newest snapshot, if it is what this run would publish."""
    latest = snapshots.latest(partial=publication.partial)
    return latest if latest and latest.content == publication.content else None


def publish(
    snapshots: Snapshots, fragments: Fragments, publication: Publication, run: dict[str, Any]
) -> Manifest:
    """Publishes a snapshot and returns its manifest.

    Raises RetryableError if a unit has no fragment, ErrorBudgetError if too many documents failed, ConflictError if other
    runs kept publishing meanwhile.
    """
    _check_complete(fragments, publication)
    _check_errors(snapshots, fragments, publication)
    for _ in range(ATTEMPTS):
        snapshot, parent = snapshots.claim(publication.content), snapshots.latest()
        manifest = _write_files(snapshots, fragments, publication, snapshot, parent, run)
        if snapshot > max(snapshots.published(), default=0):
            return snapshots.publish(manifest)
        if current := is_current(snapshots, publication):
            return current
        # a later number became visible meanwhile: publish on top of it, not underneath
    raise ConflictError(
        f"{snapshots.table_uri}: {ATTEMPTS} other runs published meanwhile; run again"
    )


def _check_complete(fragments: Fragments, publication: Publication) -> None:
    missing = {unit.id for unit in publication.units} - fragments.done()
    if missing:
        raise RetryableError(
            f"{fragments.folder}: {len(missing)} of {len(publication.units)} units have no fragment "
            f"(first: {min(missing)}); nothing was published; run again"
        )


def _check_errors(snapshots: Snapshots, fragments: Fragments, publication: Publication) -> None:
    if publication.max_errors is None:
        return
    layout, key = publication.layout, publication.decision.key
    groups = {group.inputs(layout, key): group for group in publication.groups}
    check_budget(publication.max_errors, fragments, groups, snapshots.latest())


def _write_files(
    snapshots: Snapshots,
    fragments: Fragments,
    publication: Publication,
    snapshot: int,
    parent: Manifest | None,
    run: dict[str, Any],
) -> Manifest:
    writer = _Writer(snapshots, fragments, publication, snapshot, parent)
    files = [file for group in publication.groups for file in writer.files(group)]
    now = {file.sha256 for file in files}
    labels: dict[str, int] = {}
    for file in files:
        for label, count in file.labels.items():
            labels[label] = labels.get(label, 0) + count
    rows = {
        kind: sum(file.rows for file in files if file.kind == kind) for kind in ("data", "errors")
    }
    return Manifest(
        version=MANIFEST_VERSION,
        snapshot=snapshot,
        parent=parent.snapshot if parent else None,
        partial=publication.partial,
        content=publication.content,
        scoring_key=publication.scoring_key,
        decision_key=publication.decision.key,
        partition_by=list(publication.layout.partition_by),
        counts={
            "documents": rows["data"] + rows["errors"],
            "predictions": rows["data"],
            "errors": rows["errors"],
            "units": len(publication.units),
            "source_files": len({unit.source_uri for unit in publication.units}),
        },
        labels=dict(sorted(labels.items())),
        files=files,
        removed=[file.path for file in parent.files if file.sha256 not in now] if parent else [],
        run=run,
    )


@dataclass(frozen=True, slots=True)
class _Writer:
    """Puts a group's files into a snapshot's folder: copied from the parent where they are the same, else written."""

    snapshots: Snapshots
    fragments: Fragments
    publication: Publication
    snapshot: int
    parent: Manifest | None

    def files(self, group: Group) -> list[SnapshotFile]:
        inputs = group.inputs(self.publication.layout, self.publication.decision.key)
        return self._kept(group, inputs) or self._written(group, inputs)

    def _kept(self, group: Group, inputs: str) -> list[SnapshotFile]:
        partition = dict(group.partition)
        same = [
            file
            for file in (self.parent.files if self.parent else [])
            if (file.inputs, file.partition, file.bucket) == (inputs, partition, group.bucket)
        ]
        kept = [
            replace(
                file, path=self._path(file.kind, group, file.path.rpartition("/")[2]), state="kept"
            )
            for file in same
        ]
        pairs = [(old.path, new.path) for old, new in zip(same, kept, strict=True)]
        try:
            self.snapshots.storage.copy_all(
                [(self.snapshots.uri(old), self.snapshots.uri(new)) for old, new in pairs]
            )
        except (
            FileNotFoundError
        ):  # somebody tidied the parent away: its fragments still hold all of it
            return []
        return kept

    def _written(self, group: Group, inputs: str) -> list[SnapshotFile]:
        publication = self.publication
        tables = self.fragments.read([unit.id for unit in group.units])
        _check_rows(group, [len(table) for table in tables])
        built = build(
            group, tables, publication.layout, publication.decision, publication.scoring_key
        )
        if sum(file.rows for file in built) != sum(len(table) for table in tables):
            raise RookeryError(
                f"bucket {group.bucket} of {group.folder}: rows and errors do not add up to the documents read"
            )
        written = []
        for file in built:
            path = self._path(file.kind, group, file.name)
            self.snapshots.storage.put_if_absent(self.snapshots.uri(path), file.data)
            written.append(
                SnapshotFile(
                    path, file.kind, "added", dict(group.partition), group.bucket, file.rows, len(file.data),
                    file.sha256, inputs, file.labels,
                )
            )  # fmt: skip
        return written

    def _path(self, kind: str, group: Group, name: str) -> str:
        return f"{self.snapshots.folder(kind, self.snapshot)}{group.folder}{name}"


def _check_rows(group: Group, rows: list[int]) -> None:
    for unit, found in zip(group.units, rows, strict=True):
        if unit.documents is not None and unit.documents != found:
            raise RookeryError(
                f"{unit.source_uri}: planned {unit.documents} documents, the fragment of unit {unit.id} has {found}; "
                "nothing was published"
            )
