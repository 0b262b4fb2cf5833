"""What is counted of each group of units before anything of it is published: documents, failures, digests of ids.

    <table>/_units/tallies/<xx>/<digest of the group's units>

A tally is a function of the group's fragments and is put if absent, so that a later run reads those of the groups
that did not change, each in one request, and fragments of the others alone. Those of groups with erased documents go
with them (erasure.py); while that is not done none is believed. One line of JSON is followed by the
digests, 8 bytes each: 512 kB for the 64,000 documents of 64 units.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, compress
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.mapped import Mapped
from pipeline.storage.objects import Storage
from pipeline.tables.erased_ids import erased_count
from pipeline.tables.failures import count_failures, failed_of, read_failures, transfer_batches
from pipeline.tables.fragments import Fragments
from pipeline.tables.groups import Group, Groups
from pipeline.tables.snapshots import Failure

TALLY_VERSION = 1  # raise it when the same fragments give other bytes
Digests = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class GroupTally:
    """What is counted of a group. `digests`: of its documents' ids, ascending, one a document but for erased ones."""

    documents: int
    failures: list[Failure]
    digests: Digests
    erased: int = 0

    def dump(self) -> bytes:
        """Writes a tally as bytes."""
        head: dict[str, Any] = {"documents": self.documents, "failures": [asdict(f) for f in self.failures]}
        head |= {"erased": self.erased} if self.erased else {}
        return json.dumps(head).encode() + b"\n" + self.digests.astype("<u8").tobytes()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads what `dump` wrote."""
        head, _, digests = data.partition(b"\n")
        tree = json.loads(head)
        failures = [Failure(**failure) for failure in tree["failures"]]
        return cls(tree["documents"], failures, np.frombuffer(digests, "<u8"), tree.get("erased", 0))


@dataclass(frozen=True, slots=True)
class GroupTallies:
    """The tallies of one table; called with a group, it counts and keeps the group's."""

    fragments: Fragments

    @property
    def folder(self) -> str:
        return f"{self.fragments.table_uri.rstrip('/')}/_units/tallies"

    def uri(self, members: str) -> str:
        """Names the tally of a group by the digest of its units."""
        return f"{self.folder}/{members[:2]}/{members}-{TALLY_VERSION}"

    def __call__(self, group: Group) -> GroupTally:
        """Counts a group whose units all have fragments, and stores its tally."""
        failed: list[pa.Table] = []
        digests: list[Digests] = []
        erased = 0
        for some in transfer_batches(list(group.units)):
            for unit, documents in zip(some, read_failures(self.fragments, some), strict=True):
                failed.append(failed_of(unit, documents))
                digests.append(id_digests(documents["id"].to_pylist()))
                erased += erased_count(documents)
        ascending = np.sort(np.concatenate(digests))
        tally = GroupTally(len(ascending), count_failures(pa.concat_tables(failed)), ascending, erased)
        self.fragments.storage.put_if_absent(self.uri(group.members), tally.dump())
        return tally

    def of(self, groups: Groups, mapped: Mapped = map) -> Iterator[GroupTally]:
        """Gives each group's, in their order and few at a time; `mapped` reads them, and counts those that are new."""
        stored_names = {file.uri.rpartition("/")[2] for file in self.fragments.storage.find(self.folder)}
        believed, uris = self.fragments.erased.finished, [self.uri(members) for members in groups.members]
        is_stored = [believed and uri.rpartition("/")[2] in stored_names for uri in uris]
        together = transfer_batches(list(compress(uris, is_stored)))
        stored = chain.from_iterable(mapped(TallyReader(self.fragments.storage), together))
        new = mapped(self, (groups[number] for number, there in enumerate(is_stored) if not there))
        return (next(stored if there else new) for there in is_stored)


@dataclass(frozen=True, slots=True)
class TallyReader:
    """Reads tallies that are kept, several at a time."""

    storage: Storage

    def __call__(self, uris: list[str]) -> list[GroupTally]:
        """Gives them in their order."""
        return [GroupTally.parse(data) for data in self.storage.read_all(uris)]


def id_digests(ids: Iterable[str]) -> Digests:
    """Gives 64 bits of BLAKE2 of each id, in their order."""
    hashed = (hashlib.blake2b(id_.encode(), digest_size=8).digest() for id_ in ids)
    return np.frombuffer(b"".join(hashed), "<u8")
