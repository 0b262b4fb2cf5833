"""Ids that several documents have, at any scale: from 64-bit digests, then confirmed by the ids themselves.

One process sees every digest and holds few of them. 8.4 million (67 MB) are kept as they come; more are appended to
256 files on its own disk by their highest 8 bits, so that equal ones meet in one file, and each file is sorted alone.
10⁹ documents are 8 GB on disk in files of 31 MB, 10¹⁰ are 80 GB in files of 312 MB: memory is 67 MB and about three
times such a file.

Two ids may have one digest: of 10⁹, n²/2⁶⁵ = 0.03 pairs are expected. So repeated digests are looked up in the
fragments until two documents with one and the same id are seen, for at most 1,000 of them: more are no accident.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.mapped import Mapped
from pipeline.tables.failures import transfer_batches
from pipeline.tables.fragments import Fragments
from pipeline.tables.group_tallies import Digests, GroupTallies, id_digests
from pipeline.tables.groups import Group, Groups
from pipeline.tables.spilling import full_disk_explained, spill_folder

DIGESTS_IN_MEMORY = 2**23  # digests
IDS_SPILLED = "ids", 8  # bytes of each, to say so where the disk is full
SPILL_FILES = 256  # by the highest 8 bits
DIGESTS_CONFIRMED = 1000  # digests
EXAMPLES_SHOWN = 10
SPILL_BOUNDS = np.arange(1, SPILL_FILES, dtype=np.uint64) << np.uint64(56)


@dataclass(frozen=True, slots=True, order=True)
class DocumentPlace:
    """Where a document is: the URI of its file, and its position there."""

    uri: str
    position: int

    def __str__(self) -> str:
        return f"{self.uri} at {self.position}"


@dataclass(frozen=True, slots=True)
class Duplicates:
    """How many ids are those of more than one document, how many documents these are; ids with two places of each."""

    ids: int = 0
    documents: int = 0
    examples: list[tuple[str, DocumentPlace, DocumentPlace]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RepeatedDigests:
    """Digests that were added more than once: how many, how often in all, and the smallest with their counts."""

    digests: int
    documents: int
    first: Digests  # DIGESTS_CONFIRMED at most
    counts: Digests


class RepeatedDigestFinder:
    """Takes digests, gives those that came more than once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: list[Digests] = []
        self._held = 0

    def add(self, digests: Digests) -> None:
        """Takes some, ascending."""
        self._arrays.append(digests)
        self._held += len(digests)
        if self._held >= DIGESTS_IN_MEMORY:
            with full_disk_explained(*IDS_SPILLED):
                self._spill()

    def _spill(self) -> None:
        for number, part in enumerate(self._parts()):
            with (self._folder / str(number)).open("ab") as file:
                file.write(part.data)
        self._arrays, self._held = [], 0

    def repeated(self) -> RepeatedDigests:
        """Gives those of all that were added which came more than once."""
        digests = documents = 0
        first: list[Digests] = []
        counts: list[Digests] = []
        for number, part in enumerate(self._parts()):
            file = self._folder / str(number)
            spilled = [np.fromfile(file, np.uint64)] if file.exists() else []
            ascending = np.sort(np.concatenate([*spilled, part]))
            again = ascending[1:] == ascending[:-1]
            values, more = np.unique(ascending[1:][again], return_counts=True)
            room = DIGESTS_CONFIRMED - sum(map(len, first))
            first.append(values[:room])
            counts.append(more[:room].astype(np.uint64) + np.uint64(1))
            digests += len(values)
            documents += int(more.sum()) + len(values)
        return RepeatedDigests(digests, documents, np.concatenate(first), np.concatenate(counts))

    def _parts(self) -> Iterator[Digests]:
        """What is held, cut by the highest bits."""
        bounds = [np.searchsorted(array, SPILL_BOUNDS) for array in self._arrays]
        for number in range(SPILL_FILES):
            slices = [
                array[at[number - 1] if number else 0 : at[number] if number < SPILL_FILES - 1 else None]
                for array, at in zip(self._arrays, bounds, strict=True)
            ]
            yield np.concatenate([np.empty(0, np.uint64), *slices])


@dataclass(frozen=True, slots=True)
class PlaceFinder:
    """Finds the documents of a group whose ids have one of some digests, two places at most of an id."""

    fragments: Fragments
    digests: Digests  # ascending

    def __call__(self, group: Group) -> dict[str, list[DocumentPlace]]:
        """Gives the places by id."""
        places: dict[str, list[DocumentPlace]] = defaultdict(list)
        for some in transfer_batches(list(group.units)):
            units = [unit.id for unit in some]
            columns = self.fragments.read_columns(units, ["id", "position"])
            for unit, documents in zip(some, columns, strict=True):
                has_one = np.isin(id_digests(documents["id"].to_pylist()), self.digests)
                for row in documents.filter(pa.array(has_one)).to_pylist():
                    if len(places[row["id"]]) < 2:
                        places[row["id"]].append(DocumentPlace(unit.source_uri, row["position"]))
        return dict(places)

    def may_be_in(self, digests: Digests) -> bool:
        """Tells whether a group with these digests, ascending, has one of them."""
        at = np.searchsorted(digests, self.digests)
        return bool((digests[at[at < len(digests)]] == self.digests[at < len(digests)]).any())


def find_duplicates(
    tallies: GroupTallies, groups: Groups, digests: Iterable[Digests], mapped: Mapped = map
) -> Duplicates:
    """Finds ids that several documents have.

    Args:
        tallies: where each of the groups has one.
        groups: those whose documents are compared.
        digests: of each group, ascending; they are taken one by one.
        mapped: looks into several groups at a time.

    Raises:
        StorageError: this machine's disk has no room for the digests.
    """
    with spill_folder(*IDS_SPILLED) as folder:
        repeats = RepeatedDigestFinder(folder)
        for group_digests in digests:
            repeats.add(group_digests)
        repeated = repeats.repeated()
    if not repeated.digests:
        return Duplicates()
    look = PlaceFinder(tallies.fragments, repeated.first)
    pairs = zip(groups, tallies.of(groups), strict=True)
    holding = (group for group, tally in pairs if look.may_be_in(tally.digests))
    return _confirmed(repeated, mapped(look, holding))


def _confirmed(repeated: RepeatedDigests, places_by_group: Iterable[dict[str, list[DocumentPlace]]]) -> Duplicates:
    """`places_by_group`: in the order of the groups; no more of it is taken than is needed."""
    counts = dict(zip(repeated.first.tolist(), repeated.counts.tolist(), strict=True))
    places: dict[str, list[DocumentPlace]] = defaultdict(list)
    unconfirmed = set(counts)
    for places_of_group in places_by_group:
        for id_, more in places_of_group.items():
            places[id_] = (places[id_] + more)[:2]
            if len(places[id_]) == 2:
                unconfirmed -= set(id_digests([id_]).tolist())
        if not unconfirmed:
            break
    pairs = sorted((two[0], two[1], id_) for id_, two in places.items() if len(two) == 2)
    return Duplicates(
        repeated.digests - len(unconfirmed),
        repeated.documents - sum(counts[digest] for digest in unconfirmed),
        [(id_, first, second) for first, second, id_ in pairs[:EXAMPLES_SHOWN]],
    )
