"""Erasure: the documents with some ids leave a table, with all that was kept of them.

1. the list of the ids' salted digests becomes visible: from then on no run brings one back (erased_ids.py)
2. every object that may hold ids is searched; what is to be done is noted (receipts.py)
3. tallies of these ids go, and the index of contents: both are made anew from fragments. First, because later no
   fragment tells any more which ids they were
4. fragments, and records and reports of runs, are replaced, each by one PUT; scratch of runs goes
5. of each snapshot and candidate, the oldest first: new files are put beside the old ones, the manifest is replaced by
   one PUT, the old files go
6. files go that no manifest names: of publications that died, or of step 5 where an erasure was killed
7. the receipt is put: only now is the erasure done

Each step finds what is left of it, so an erasure that was killed is finished by the next one, of whatever ids: it takes
all lists together. Who goes by a manifest sees the old snapshot or the new one, whole; who read the old manifest before
it was replaced may find a file gone, and has to open the table again. A snapshot's number and `content` stay: published
anew from the rewritten fragments, it would have the same files.

A run that was planned before the list was visible may still write what it has read. So an erasure looks which runs are
alive when the list is there, looks again when they have ended, and is not done before. One erasure is at work at a
time.
"""

import contextlib
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import ConfigError, ConflictError, RetryableError
from pipeline.storage.objects import TRANSFERS, Storage
from pipeline.tables.erased_ids import SALT_BYTES, ErasedIds, Erasures
from pipeline.tables.erasure_rewriting import Rewriting
from pipeline.tables.erasure_search import WITHOUT_RUNS, ErasedPlaces, find_erased, manifest_numbers, manifests
from pipeline.tables.failures import transfer_batches
from pipeline.tables.group_tallies import GroupTally, id_digests
from pipeline.tables.heartbeats import ALIVE_SECONDS, BEAT_SECONDS, Heartbeats
from pipeline.tables.receipts import ErasureRun, Receipts, now
from pipeline.tables.snapshots import Manifest, Snapshots

LOOK_SECONDS = 3.0  # between two looks at another erasure


Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Erased:
    """What a run of an erasure found and did."""

    ids: frozenset[str]  # that were found
    run: ErasureRun
    before: frozenset[str]  # that were on a list before: an earlier run has found them, and may have been killed
    is_resumed: bool


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """A folder of a table that runs are at work in."""

    storage: Storage
    folder: str


def erase_documents(snapshots: Snapshots, ids: Collection[str], tell: Tell) -> Erased:
    """Erases the documents with these ids from a table, and finishes what earlier erasures left undone.

    `tell` gets a line that says what it waits for, where it waits.

    Raises:
        ConfigError: there is no table.
        ConflictError: another erasure is at work. The ids are on the list.
        RetryableError: runs that were planned before are alive: what was there is erased, what they write may not be.
        StorageError: the store failed; run again.
    """
    check_is_table(snapshots)
    erasures = Erasures(snapshots.storage, snapshots.table_uri)
    before = frozenset(erasures.ids(erasures.read()).among([*ids]))
    erasures.begin(ids)
    with Heartbeats(erasures).beating() as me:
        _wait_for_others(erasures, me, tell)
        erased, unfinished = erasures.ids(erasures.read()), erasures.unfinished()
        erasing = _Erasing(snapshots, Receipts(erasures), erased, unfinished, frozenset(ids))
        alive = erasing.begun_before(_alive_runs(snapshots))
        done = erasing.look(Erased(frozenset(), ErasureRun.begun(alive), before, erasing.is_resumed))
        while alive:
            if still := alive & _alive_runs(snapshots):
                raise RetryableError(_not_done(snapshots, len(still)))
            alive, done = set(), erasing.look(done)  # once more, for what they have left
        return erasing.finish(done)


def look_for(snapshots: Snapshots, ids: Collection[str]) -> ErasedPlaces:
    """Tells what holds rows of the documents with these ids; changes nothing. Raises ConfigError, StorageError."""
    check_is_table(snapshots)
    return find_erased(snapshots, ErasedIds.of(ids, secrets.token_bytes(SALT_BYTES)))


def check_is_table(snapshots: Snapshots) -> None:
    """Raises ConfigError where nobody has begun a table: a list of ids there would protect nothing."""
    if not any(snapshots.storage.is_folder(snapshots.uri(folder)) for folder in ("_units", "_snapshots")):
        raise ConfigError(f"{snapshots.table_uri}: is no table; expected the folder that table.uri of a job names")


@dataclass(frozen=True, slots=True)
class _Erasing:
    """A run of an erasure, while no other one is at work in the table."""

    snapshots: Snapshots
    receipts: Receipts
    erased: ErasedIds
    lists: list[str]  # that are not done
    ids: frozenset[str]

    def begun_before(self, alive: set[str]) -> set[str]:
        """Picks of the runs that are alive those that may not know all lists.

        Of a list that an earlier run has left undone: those that were alive then.
        """
        return {run for runs in self._killed for run in (alive & {*runs[-1].alive} if runs else alive)}

    @property
    def is_resumed(self) -> bool:
        """Tells whether an earlier run has left something undone."""
        return any(self._killed)

    @property
    def _killed(self) -> list[list[ErasureRun]]:
        """Of each list the runs that have not ended, oldest first."""
        return [[run for run in self.receipts.runs(name) if not run.finished_at] for name in self.lists]

    def look(self, done: Erased) -> Erased:
        """Searches the table once, notes what it is about to do, and does it. `done` before, in this run."""
        places = find_erased(self.snapshots, self.erased)
        tallies = self._tallies(places.ids | self.ids)
        changes_fragments = places.fragments or done.is_resumed
        index = self._index() if changes_fragments else []
        files = [uri for uris in places.files.values() for uri in uris]
        run = replace(
            done.run,
            rewritten=_union(done.run.rewritten, self._paths([*places.fragments, *places.records, *files])),
            removed=_union(done.run.removed, self._paths([*tallies, *index, *places.scratch, *places.unnamed])),
        )
        for name in self.lists:
            self.receipts.begin(name, run)
        self._delete([*tallies, *index])
        rewriting = Rewriting(self.snapshots, self.erased)
        _spread(rewriting.fragment, places.fragments)
        _spread(rewriting.record, places.records)
        # an index that a run has made of fragments meanwhile may tell of rows that are elsewhere now
        self._delete([*(self._index() if changes_fragments else []), *places.scratch])
        run = replace(run, rewritten=_union(run.rewritten, self._paths(self._manifests(rewriting, places))))
        self._delete(places.unnamed)
        return replace(done, ids=done.ids | places.ids, run=replace(run, left=self._left()))

    def finish(self, done: Erased) -> Erased:
        """Puts the receipts: from now on the erasure is done."""
        done = replace(done, run=replace(done.run, finished_at=now()))
        for name in self.lists:
            self.receipts.finish(name, done.run)
        return done

    def _tallies(self, ids: Collection[str]) -> list[str]:
        """Those that hold digests of ids."""
        storage, digests = self.snapshots.storage, np.sort(id_digests(ids))
        holding = []
        for some in transfer_batches([file.uri for file in storage.find(self.snapshots.uri("_units/tallies"))]):
            for uri, data in zip(some, storage.read_all(some), strict=True):
                of_group = GroupTally.parse(data).digests
                at = np.searchsorted(digests, of_group)  # np.isin would hash all of a million ids for each group
                if (digests[np.minimum(at, len(digests) - 1)] == of_group).any():
                    holding.append(uri)
        return holding

    def _index(self) -> list[str]:
        """The index of contents."""
        return [file.uri for file in self.snapshots.storage.find(self.snapshots.uri("_index"))]

    def _manifests(self, rewriting: Rewriting, places: ErasedPlaces) -> Iterator[str]:
        """Rewrites snapshots and candidates one after the other, removes their old files; gives what it replaced."""
        storage = self.snapshots.storage
        for number in manifest_numbers(self.snapshots):
            old: set[str] = set()
            kept: set[str] = set()
            # a candidate that was published shares its files with the snapshot
            for uri, manifest in manifests(self.snapshots, number):
                new = rewriting.manifest(manifest, places.files, self._parent(manifest.parent))
                if new != manifest:
                    if uri == self.snapshots.manifest_uri(number):
                        self.snapshots.put_file_lists(new)
                    storage.put(uri, new.dump())
                    yield uri
                old |= {file.path for file in manifest.files}
                kept |= {file.path for file in new.files}
            self._delete(map(self.snapshots.uri, old - kept))

    def _parent(self, number: int | None) -> Manifest | None:
        try:
            return None if number is None else self.snapshots.read(number)
        except FileNotFoundError:
            return None

    def _left(self) -> list[str]:
        """The partition keys of which a folder is called by an erased id: it holds other documents too."""
        values: dict[str, set[str]] = defaultdict(set)
        for _, manifest in manifests(self.snapshots):
            for file in manifest.files:
                for key, value in file.partition.items():
                    values[key] |= {value} if value else set()
        return sorted(key for key, names in values.items() if self.erased.among([*names]))

    def _delete(self, uris: Iterable[str]) -> None:
        def delete(uri: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self.snapshots.storage.delete(uri)

        _spread(delete, uris)

    def _paths(self, uris: Iterable[str]) -> list[str]:
        """Paths in the table, without the folders of partition values."""
        root = self.snapshots.storage.canonical(self.snapshots.table_uri).rstrip("/")
        paths = [self.snapshots.storage.canonical(uri).removeprefix(f"{root}/").split("/") for uri in uris]
        return ["/".join(path[:2] + path[-1:]) if path[0] in ("data", "errors") else "/".join(path) for path in paths]


def _spread(function: Callable[[str], None], uris: Iterable[str]) -> None:
    with ThreadPoolExecutor(TRANSFERS) as pool:
        for some in transfer_batches(list(uris)):
            list(pool.map(function, some))


def _union(one: list[str], other: list[str]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


def _alive_runs(snapshots: Snapshots) -> set[str]:
    """The runs that label or publish, under any scoring key."""
    alive: set[str] = set()
    for folder in snapshots.storage.folders_in(snapshots.uri("_units")):
        heartbeats = Heartbeats(WorkFolder(snapshots.storage, folder))
        if folder.rpartition("/")[2] not in WITHOUT_RUNS and snapshots.storage.find(heartbeats.folder):
            with heartbeats.beating() as me:  # to be told by the store's clock
                alive |= heartbeats.alive() - {me}
    return alive


def _wait_for_others(erasures: Erasures, me: str, tell: Tell) -> None:
    """Waits as long as an erasure that was killed seems alive. Raises ConflictError for one that is."""
    deadline = time.monotonic() + ALIVE_SECONDS + BEAT_SECONDS
    heartbeats, told = Heartbeats(erasures), False
    while heartbeats.alive() - {me}:
        if time.monotonic() > deadline:
            raise ConflictError(
                f"{erasures.table_uri}: another erasure is at work. These ids are on the list, so that no new run "
                "brings them back; run again when it has ended, to remove what there is of them"
            )
        if not told:
            tell("another erasure is at work, or was killed less than a minute ago: waiting for it …")
        told = True
        time.sleep(LOOK_SECONDS)


def _not_done(snapshots: Snapshots, runs: int) -> str:
    are = "1 run is" if runs == 1 else f"{runs} runs are"
    return (
        f"{snapshots.table_uri}: what was there of these ids is erased. But {are} at work that began before, and may "
        "still write what was read of them, where no reader sees it. Run again when that has ended: until then the "
        "erasure is not done"
    )
