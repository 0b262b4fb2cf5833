"""Which units, and groups of them, each snapshot was made of: what it needs of `_units/`.

    <table>/_snapshots/<n>.units    one line of JSON with the two counts, then 16 bytes of each digest, ascending

Written before the snapshot is visible, and a function of its content, as its claim is. Readers of the table don't need
it: it tells a vacuum which fragments and tallies are in use. A snapshot without one, of an earlier version, needs all.
"""

import json
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.tables.groups import Groups
from pipeline.tables.snapshots import Snapshots

UNIT_DIGEST_BYTES = 16


class DigestSet:
    """A set of digests by their last 64 bits: 8 bytes each. It takes one in 10¹³ for a member of 10⁶ that is none."""

    def __init__(self, ascending: npt.NDArray[np.uint64]) -> None:
        self._ascending = ascending

    @classmethod
    def of(cls, data: bytes) -> "DigestSet":
        """Reads digests of UNIT_DIGEST_BYTES each."""
        last = np.frombuffer(data, ">u8").reshape(-1, UNIT_DIGEST_BYTES // 8)[:, -1]
        return cls(np.unique(last.astype(np.uint64)))

    def __or__(self, other: "DigestSet") -> "DigestSet":
        return DigestSet(np.union1d(self._ascending, other._ascending))

    def __contains__(self, digest: object) -> bool:
        if not isinstance(digest, str):
            return False
        wanted = np.uint64(int(digest[-16:], 16))
        at = np.searchsorted(self._ascending, wanted)
        return bool(at < len(self._ascending) and self._ascending[at] == wanted)


class SnapshotUnits(NamedTuple):
    """What a snapshot was made of."""

    units: DigestSet
    groups: DigestSet


def write_units(snapshots: Snapshots, snapshot: int, groups: Groups) -> None:
    """Says which units a snapshot that is being published is made of."""
    units, members = np.sort(groups.unit_ids), sorted(groups.members)
    head = json.dumps({"units": len(units), "groups": len(members)}).encode() + b"\n"
    digests = bytes.fromhex(units.tobytes().decode()) + bytes.fromhex("".join(members))
    snapshots.storage.put_if_absent(snapshots.units_uri(snapshot), head + digests)


def copy_units(snapshots: Snapshots, source: int, target: int) -> None:
    """Says it of a snapshot with another one's content; nothing where the other one doesn't say it."""
    try:
        data = snapshots.storage.read(snapshots.units_uri(source))
    except FileNotFoundError:
        return
    snapshots.storage.put_if_absent(snapshots.units_uri(target), data)


def read_units(snapshots: Snapshots, snapshot: int) -> SnapshotUnits | None:
    """Reads what a snapshot was made of; None where it doesn't say."""
    try:
        data = snapshots.storage.read(snapshots.units_uri(snapshot))
    except FileNotFoundError:
        return None
    head, _, digests = data.partition(b"\n")
    end = json.loads(head)["units"] * UNIT_DIGEST_BYTES
    return SnapshotUnits(DigestSet.of(digests[:end]), DigestSet.of(digests[end:]))
