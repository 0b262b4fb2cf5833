"""An older snapshot, published once more as the newest; nothing is deleted.

Its files are copied into a new snapshot's folder and checked as those of any publication are, so that readers who go by
the newest number see the older rows, and those of a snapshot that was undone go on reading it. What was undone is
written into the new manifest's `run`: what would publish it again is held back until a person says that it may
(`check_not_held_back`). Killed at any point and run again, a rollback ends with the same snapshot.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pipeline.errors import ConfigError, ConflictError, HeldBackError
from pipeline.tables.changes import count_changes
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.publish import ATTEMPTS, COPIED_TOGETHER, Copier, Publication
from pipeline.tables.snapshot_units import copy_units
from pipeline.tables.snapshots import Manifest, SnapshotFile, Snapshots

ROLLBACK = "rollback"  # in a manifest's `run`: {"to": number, "undone": [{snapshot, content, keys}]}


def roll_back(snapshots: Snapshots, number: int, run: dict[str, Any]) -> Manifest:
    """Publishes snapshot `number` again as the newest. Returns its new manifest, or the newest if it is that already.

    `run` says who does it, when, with what: it goes over the snapshot's own in the new manifest.

    Raises:
        ConfigError: there is no such snapshot, it is partial, or files of it are gone.
        ConflictError: other runs kept publishing meanwhile, or an erasure is not done.
        RetryableError: ids were erased meanwhile.
        StorageError: the store failed; run again.
    """
    erasures = Erasures(snapshots.storage, snapshots.table_uri)
    erased = erasures.check_finished()
    for _ in range(ATTEMPTS):
        wanted, latest = _wanted(snapshots, number), snapshots.latest()
        assert latest is not None  # `wanted` is complete
        if wanted.content == latest.content:
            return latest
        snapshot = snapshots.claim(wanted.content)
        copy_units(snapshots, number, snapshot)
        files = list(_copied(snapshots, wanted, snapshot, latest))
        manifest = replace(
            wanted,
            snapshot=snapshot,
            parent=latest.snapshot,
            files=files,
            removed=latest.paths_without(files),
            changes=count_changes(snapshots, latest, files),
            run=wanted.run | run | {ROLLBACK: {"to": number, "undone": _undone(snapshots, wanted)}},
        )
        erasures.check_same(erased)
        if snapshot > max(snapshots.published()):  # else one was published meanwhile: on top of it, not underneath
            return snapshots.publish(manifest)
    raise ConflictError(f"{snapshots.table_uri}: {ATTEMPTS} other runs published meanwhile; run again")


def check_not_held_back(latest: Manifest | None, publication: Publication) -> None:
    """Raises HeldBackError for a run that would publish what a person has undone.

    That is: the very content of a snapshot that the newest one, a rollback, came after; or anything under scoring and
    decision keys that only such snapshots had, as of a checkpoint that turned out to be bad, whatever the corpus holds
    by now. With the keys of the snapshot that was restored, new documents are labelled as ever.
    """
    rollback = latest.run.get(ROLLBACK) if latest else None
    if latest is None or rollback is None or publication.partial:
        return
    keys = [publication.scoring_key, publication.task.key]
    restored = [latest.scoring_key, latest.decision_key]
    for undone in rollback["undone"]:
        if undone["content"] == publication.content or (undone["keys"] == keys and keys != restored):
            raise HeldBackError(
                f"snapshot {latest.snapshot} is snapshot {rollback['to']} again, by a rollback at "
                f"{latest.run.get('published_at')}, and this job would publish what that has undone (snapshot "
                f"{undone['snapshot']}, scoring key {keys[0]}, decision key {keys[1]}). Nothing was computed or "
                "published. Name the checkpoint and the settings that the table has now, or new ones; to publish it "
                "all the same, set table.undo_rollback: true"
            )


def _wanted(snapshots: Snapshots, number: int) -> Manifest:
    manifest = snapshots.get(number)
    if manifest.partial:
        raise ConfigError(
            f"{snapshots.table_uri}: snapshot {number} is partial, of a run with --limit; expected a complete one: "
            "`rookery snapshots` lists them"
        )
    return manifest


def _copied(snapshots: Snapshots, wanted: Manifest, snapshot: int, latest: Manifest) -> Iterator[SnapshotFile]:
    copy, there = Copier(snapshots, snapshot), {file.sha256 for file in latest.files}
    for start in range(0, len(wanted.files), COPIED_TOGETHER):
        together = wanted.files[start : start + COPIED_TOGETHER]
        for file, copies in zip(together, copy([[file] for file in together]), strict=True):
            if not copies:
                raise ConfigError(
                    f"{snapshots.uri(file.path)}: is gone, so snapshot {wanted.snapshot} can't be published again; "
                    "choose another one"
                )
            yield replace(copies[0], state="kept" if file.sha256 in there else "added")


def _undone(snapshots: Snapshots, wanted: Manifest) -> list[dict[str, Any]]:
    later = (snapshots.read(number) for number in snapshots.published() if number > wanted.snapshot)
    return [
        {
            "snapshot": manifest.snapshot,
            "content": manifest.content,
            "keys": [manifest.scoring_key, manifest.decision_key],
        }
        for manifest in later
        if not manifest.partial and manifest.content != wanted.content
    ]
