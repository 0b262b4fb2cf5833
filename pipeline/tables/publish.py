"""Fragments -> a published snapshot. Everything up to the manifest is invisible and repeatable.

1. group the units; their inputs' digests are the snapshot's content
2. count documents, failures and duplicate ids; stop if the job's rules forbid them
3. claim a number; nothing to do if the newest snapshot has this content by now; say which units it is made of
4. copy the files whose inputs the parent has, write the others; count what changed since the parent
5. check rows and files, ask who judges the whole; put the manifest

Steps 2 and 4 touch documents, a group at a time and apart from each other, so `mapped` may spread them over a
cluster: a group goes out, and one small record for each of its files comes back.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from pipeline.errors import ConflictError, RetryableError, RookeryError
from pipeline.identity import digest
from pipeline.mapped import Mapped
from pipeline.schema import described, errors_schema, predictions_schema
from pipeline.storage.objects import TRANSFERS
from pipeline.tables.changes import count_changes
from pipeline.tables.erased_ids import Erasures, erased_count
from pipeline.tables.failures import total_failures
from pipeline.tables.fragments import Fragments
from pipeline.tables.groups import Group, Groups, PublishedTask, TableLayout, build_files
from pipeline.tables.hive_paths import partition_path
from pipeline.tables.partitioning import check_partitions
from pipeline.tables.publication_rules import PublicationRules, Totals, check_rules, count_totals
from pipeline.tables.score_histograms import sum_histograms
from pipeline.tables.snapshot_units import write_units
from pipeline.tables.snapshots import Changes, Manifest, SnapshotFile, Snapshots
from pipeline.tables.source_units import SourceUnit, SourceUnits
from pipeline.terms import MANIFEST_VERSION

ATTEMPTS = 20  # other runs that may publish while this one does, before it gives up
COPIED_TOGETHER = 256  # groups whose files are copied by one call: it only waits for the store


@dataclass(frozen=True)
class Publication:
    """What a run wants readers to see."""

    units: Sequence[SourceUnit]
    layout: TableLayout
    task: PublishedTask
    scoring_key: str
    partial: bool
    rules: PublicationRules  # no part of the content: they decide whether, not what
    checkpoint: dict[str, Any]  # for the manifest; what of it decides the content is in the keys

    @cached_property
    def columns(self) -> SourceUnits:
        """The units, in columns."""
        return self.units if isinstance(self.units, SourceUnits) else SourceUnits.of(self.units)

    @cached_property
    def groups(self) -> Groups:
        """Groups the units as the table's layout wants."""
        return self.layout.groups(self.columns)

    @cached_property
    def inputs(self) -> list[str]:
        """Digests each group's inputs."""
        key = self.task.key
        return [group.inputs(self.layout, key) for group in self.groups]

    @cached_property
    def content(self) -> str:
        """Digests everything in the snapshot but its number."""
        heads = zip(self.groups.heads, self.inputs, strict=True)
        inputs = [[partition_path(list(partition)), bucket, digest] for (partition, bucket), digest in heads]
        # the version, so that what an older manifest does not tell is counted and judged by the next run
        keys = [MANIFEST_VERSION, self.scoring_key, self.task.key]
        keys += [list(self.layout.partition_by), self.partial]
        return digest("snapshot/1", inputs, keys)


def is_current(snapshots: Snapshots, publication: Publication) -> Manifest | None:
    """Gives the newest snapshot, if it is what this run would publish."""
    latest = snapshots.latest(partial=publication.partial)
    return latest if latest and latest.content == publication.content else None


def check_current(snapshots: Snapshots, fragments: Fragments, publication: Publication, current: Manifest) -> None:
    """Judges by the job's rules what is published already: other rules may have held then. Raises as `publish`."""
    rules, totals = publication.rules, Totals.of(current)
    if totals.duplicates.ids and rules.duplicate_ids == "refuse":
        totals = count_totals(fragments, publication.groups)  # the manifest knows no examples
    check_published(snapshots.table_uri, rules, totals, current)


def check_published(table_uri: str, rules: PublicationRules, totals: Totals, current: Manifest) -> None:
    """Judges what a published snapshot's documents come to. Raises as `publish`, and says that the snapshot stays."""
    state = f"Snapshot {current.snapshot}, which other settings published, stays as it is"
    check_rules(rules, table_uri, totals, state)


def publish(
    snapshots: Snapshots,
    fragments: Fragments,
    publication: Publication,
    run: dict[str, Any],
    mapped: Mapped = map,
    judged: Callable[[Manifest], Manifest] = lambda manifest: manifest,
) -> Manifest:
    """Publishes a snapshot and returns its manifest, or that of another run that was first with the same content.

    `judged` is asked when all files are there and none is visible: it raises what holds the snapshot back, or gives
    the manifest, with what it has found in `run`.

    Raises:
        RetryableError: a unit has no fragment, or ids were erased meanwhile.
        ErrorBudgetError: too many documents failed, or all.
        CorpusError: there is no document, or ids are not unique and the job refuses that.
        ConflictError: other runs kept publishing meanwhile.
    """
    _check_complete(fragments, publication)
    totals = count_totals(fragments, publication.groups, mapped)
    check_rules(publication.rules, snapshots.table_uri, totals)
    for _ in range(ATTEMPTS):
        # in this order: what has this content under another number was published before this number was claimed
        snapshot = snapshots.claim(publication.content)
        parent = snapshots.latest()
        newest = snapshots.latest(partial=True) if publication.partial else parent
        if newest and newest.content == publication.content:
            return newest
        write_units(snapshots, snapshot, publication.groups)
        files = _put_files(snapshots, fragments, publication, snapshot, parent, mapped)
        check_partitions(publication.layout.partition_by, (file.partition for file in files))
        changes = None if publication.partial else count_changes(snapshots, parent, files, mapped)
        manifest = judged(_manifest(publication, snapshot, parent, files, totals, changes, run))
        Erasures(snapshots.storage, snapshots.table_uri).check_same(fragments.erased)
        if snapshot > max(snapshots.published(), default=0):
            return snapshots.publish(manifest)
        # a later number became visible meanwhile: publish on top of it, not underneath
    raise ConflictError(f"{snapshots.table_uri}: {ATTEMPTS} other runs published meanwhile; run again")


def _check_complete(fragments: Fragments, publication: Publication) -> None:
    ids = publication.columns.ids
    missing = ids[~fragments.finished(expected=len(ids)).are_in(ids)]
    if len(missing):
        raise RetryableError(
            f"{fragments.folder}: {len(missing)} of {len(ids)} units have no fragment "
            f"(first: {min(missing.tolist()).decode()}); nothing was published; run again"
        )


def _put_files(
    snapshots: Snapshots,
    fragments: Fragments,
    publication: Publication,
    snapshot: int,
    parent: Manifest | None,
    mapped: Mapped,
) -> list[SnapshotFile]:
    """Puts every group's files into a snapshot's folder: copied from the parent if it has them, else written."""
    groups = publication.groups
    # the parent's may still have rows of erased documents, which are left out where fragments are read
    same = list(_same_files(publication, parent)) if fragments.erased.finished else []
    batches = (
        [files for _, files in same[start : start + COPIED_TOGETHER]] for start in range(0, len(same), COPIED_TOGETHER)
    )
    copied = chain.from_iterable(mapped(Copier(snapshots, snapshot), batches))
    put = {n: files for (n, _), files in zip(same, copied, strict=True) if files}
    write = GroupWriter(
        snapshots=snapshots,
        fragments=fragments,
        layout=publication.layout,
        task=publication.task,
        snapshot=snapshot,
    )
    missing = [n for n in range(len(groups)) if n not in put]
    put |= zip(missing, mapped(write, (groups[n] for n in missing)), strict=True)
    return [file for n in range(len(groups)) for file in put[n]]


def _same_files(publication: Publication, parent: Manifest | None) -> Iterator[tuple[int, list[SnapshotFile]]]:
    """Groups, by their place among all, that the parent has, and its files of each."""
    files = defaultdict(list)
    hive_keys = publication.layout.hive_keys
    # an older version's manifest does not count all that this one does
    for file in parent.files if parent and parent.version == MANIFEST_VERSION else []:
        files[file.inputs, tuple((key, file.partition.get(key)) for key in hive_keys), file.bucket].append(file)
    for n, (inputs, head) in enumerate(zip(publication.inputs, publication.groups.heads, strict=True)):
        if files_of_group := files.get((inputs, *head)):
            yield n, files_of_group


def _manifest(
    publication: Publication,
    snapshot: int,
    parent: Manifest | None,
    files: list[SnapshotFile],
    totals: Totals,
    changes: Changes | None,
    run: dict[str, Any],
) -> Manifest:
    rows: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for file in files:
        rows[file.kind] += file.rows
        labels.update(file.labels)
    if (rows.total(), rows["errors"]) != (totals.documents, total_failures(totals.failures)):
        raise RookeryError(
            f"files hold {rows.total():,} documents with {rows['errors']:,} errors, their fragments "
            f"{totals.documents:,} with {total_failures(totals.failures):,}; nothing was published"
        )
    layout, task = publication.layout, publication.task
    partitions = layout.partition_fields
    return Manifest(
        version=MANIFEST_VERSION,
        snapshot=snapshot,
        parent=parent.snapshot if parent else None,
        partial=publication.partial,
        content=publication.content,
        scoring_key=publication.scoring_key,
        decision_key=task.key,
        partition_by=list(layout.partition_by),
        counts={
            "documents": rows.total(),
            "predictions": rows["data"],
            "errors": rows["errors"],
            "unlabelled": sum(file.unlabelled for file in files),
            "duplicate_ids": totals.duplicates.ids,
            "erased": totals.erased,
            "units": len(publication.units),
            "source_files": len(publication.columns.uris),
        },
        labels=dict(sorted(labels.items())),
        files=files,
        removed=parent.paths_without(files) if parent else [],
        run=run,
        failures=totals.failures,
        checkpoint=publication.checkpoint | task.facts,
        columns=described([*predictions_schema(task.fields, layout.carried_fields), *partitions]),
        error_columns=described([*errors_schema(layout.carried_fields), *partitions]),
        partition_columns=described(partitions),
        scores=sum_histograms((file.scores for file in files), labels),
        changes=changes,
    )


@dataclass(frozen=True, slots=True)
class Copier:
    """Copies files of earlier snapshots into a snapshot's folder, inside the store."""

    snapshots: Snapshots
    snapshot: int

    def __call__(self, groups: list[list[SnapshotFile]]) -> list[list[SnapshotFile]]:
        """Copies the files of each group; gives the new ones, or none for a group whose old ones are gone.

        Such a group is written again from its fragments.
        """
        with ThreadPoolExecutor(TRANSFERS) as pool:
            return list(pool.map(self._copy, groups))

    def _copy(self, files: list[SnapshotFile]) -> list[SnapshotFile]:
        copies = [replace(file, path=self._path(file), state="kept") for file in files]
        try:
            for old, new in zip(files, copies, strict=True):
                self.snapshots.storage.copy(self.snapshots.uri(old.path), self.snapshots.uri(new.path))
        except FileNotFoundError:
            return []
        return copies

    def _path(self, file: SnapshotFile) -> str:
        _kind, _snapshot, rest = file.path.split("/", 2)
        return f"{self.snapshots.folder(file.kind, self.snapshot)}{rest}"


@dataclass(frozen=True, slots=True)
class GroupWriter:
    """Writes the files of a group from its fragments into a snapshot's folder."""

    snapshots: Snapshots
    fragments: Fragments
    layout: TableLayout
    task: PublishedTask
    snapshot: int

    def __call__(self, group: Group) -> list[SnapshotFile]:
        """Writes a group's files. Raises RookeryError where rows are missing."""
        fragments = self.fragments.read([unit.id for unit in group.units])
        lengths = [len(fragment) for fragment in fragments]
        _check_rows(group, [len(fragment) + erased_count(fragment) for fragment in fragments])
        built = build_files(group, fragments, self.layout, self.task, self.fragments.scoring_key)
        if sum(file.rows for file in built) != sum(lengths):
            raise RookeryError(
                f"bucket {group.bucket} of {group.folder}: rows and errors do not add up to the documents read"
            )
        inputs = group.inputs(self.layout, self.task.key)
        files = []
        for file in built:
            partition = self.layout.partition_of(group, file.partition)
            path = f"{self.snapshots.folder(file.kind, self.snapshot)}{partition_path(partition)}{file.name}"
            self.snapshots.storage.put_if_absent(self.snapshots.uri(path), file.data)
            files.append(
                SnapshotFile(
                    path=path,
                    kind=file.kind,
                    state="added",
                    partition=dict(partition),
                    bucket=group.bucket,
                    rows=file.rows,
                    bytes=len(file.data),
                    sha256=file.sha256,
                    inputs=inputs,
                    labels=file.labels,
                    unlabelled=file.unlabelled,
                    scores=file.scores,
                    documents_digest=file.documents_digest,
                    rows_digest=file.rows_digest,
                )
            )
        return files


def _check_rows(group: Group, rows: list[int]) -> None:
    for unit, documents in zip(group.units, rows, strict=True):
        if unit.documents is not None and unit.documents != documents:
            raise RookeryError(
                f"{unit.source_uri}: planned {unit.documents} documents, the fragment of unit {unit.id} has "
                f"{documents}; nothing was published"
            )
