"""What a vacuum has to know of a table's lake tables, and may delete of them.

An engine's own maintenance deletes what a lake table no longer names. What it can't know are copies of a commit that
was killed, or that another one overtook: they have our names, nobody ever named them, and after the grace they go.
"""

import contextlib
from dataclasses import dataclass, field

from pipeline.errors import RookeryError
from pipeline.lakes.lake_commit import Lake, is_own_lake
from pipeline.lakes.lake_files import source_digest
from pipeline.lakes.lake_records import registered
from pipeline.storage.listings import StoredFile
from pipeline.tables.reachability import DAY_SECONDS, Needs
from pipeline.tables.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class LakeReview:
    """What lakes need and leave.

    `named_here`: paths, relative to the table, of its own files that a lake names. `unnamed`: copies that none does.
    """

    named_here: frozenset[str] = frozenset()
    unnamed: list[StoredFile] = field(default_factory=list)

    def orphans(self, needs: Needs) -> list[StoredFile]:
        """Picks the copies that are older than the grace: no commit is at work on them any more."""
        oldest = needs.now - needs.retention.grace_days * DAY_SECONDS
        return [file for file in self.unnamed if 0 < file.modified <= oldest]


def review_lakes(snapshots: Snapshots) -> LakeReview:
    """Asks every lake table of a table what its versions name.

    Raises what asking raises: as long as one can't be asked, nothing may be deleted.
    """
    table_uri = snapshots.storage.canonical(snapshots.table_uri).rstrip("/") + "/"
    named_here: set[str] = set()
    unnamed: list[StoredFile] = []
    for lake in registered(snapshots):
        copies, named = _asked(lake, snapshots)
        named_here |= {uri.removeprefix(table_uri) for uri in named if uri.startswith(table_uri)}
        unnamed += [file for file in copies if file.uri not in named]
    return LakeReview(frozenset(named_here), unnamed)


def delete_orphans(snapshots: Snapshots, orphans: list[StoredFile]) -> None:
    """Deletes copies that no lake table names."""
    for file in orphans:
        with contextlib.suppress(FileNotFoundError):  # a vacuum at the same time was first
            snapshots.storage.delete(file.uri)


def _asked(lake: Lake, snapshots: Snapshots) -> tuple[list[StoredFile], set[str]]:
    return snapshots.storage.patiently("lake://", lambda: _asked_once(lake, snapshots))


def _asked_once(lake: Lake, snapshots: Snapshots) -> tuple[list[StoredFile], set[str]]:
    try:
        version = lake.load()
        if version is None:
            return [], set()
        # listed first: what is committed meanwhile is named when it is asked for
        copies = snapshots.storage.find(f"{version.location.rstrip('/')}/data")
        is_ours = is_own_lake(version, snapshots)
        return [file for file in copies if is_ours and source_digest(file.uri)], lake.named()
    except RookeryError as error:
        raise type(error)(
            f"{error}\nAs long as it can't be asked which files its versions name, nothing is deleted. If this table "
            f"is no longer committed to it, remove its object in {snapshots.uri('_lakes/')}"
        ) from error
