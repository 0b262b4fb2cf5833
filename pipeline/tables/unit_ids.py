"""Ids of many units, 32 bytes each: as Python's strings in a set they would take 150."""

from collections.abc import Iterable, Iterator, Set
from typing import overload

import numpy as np
import numpy.typing as npt

from pipeline.value_sequence import ValueSequence

UNIT_ID_DIGITS = 32
READ_AT_ONCE = 4096  # ids that are made Python's own
IdArray = npt.NDArray[np.bytes_]


def id_array(ids: Iterable[str]) -> IdArray:
    """Holds ids of at most UNIT_ID_DIGITS characters."""
    return np.fromiter((id_.encode() for id_ in ids), f"S{UNIT_ID_DIGITS}")


NO_IDS = id_array(())


class UnitIds(ValueSequence[str]):
    """Ids in the order of their units."""

    def __init__(self, array: IdArray) -> None:
        """Take what `id_array` makes."""
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[str]:
        parts = (self.array[start : start + READ_AT_ONCE].tolist() for start in range(0, len(self), READ_AT_ONCE))
        return (id_.decode() for part in parts for id_ in part)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "UnitIds": ...
    def __getitem__(self, index: int | slice) -> "str | UnitIds":
        if isinstance(index, slice):
            return UnitIds(self.array[index])
        return str(self.array[index].decode())


class UnitIdSet(Set[str]):
    """A set of ids, ascending."""

    def __init__(self, array: IdArray = NO_IDS) -> None:
        """Take what `id_array` makes, in any order."""
        self.array = np.sort(array)
        if (self.array[1:] == self.array[:-1]).any():
            self.array = np.unique(self.array)

    @classmethod
    def of(cls, ids: Iterable[str]) -> "UnitIdSet":
        """Takes some ids, which are in no array yet."""
        return cls(id_array(ids))

    @classmethod
    def _from_iterable(cls, ids: Iterable[str]) -> Set[str]:  # type: ignore[override]  # what operators of sets give
        return frozenset(ids)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[str]:
        return iter(UnitIds(self.array))

    def __contains__(self, id_: object) -> bool:
        if not isinstance(id_, str) or len(id_) > UNIT_ID_DIGITS:
            return False
        wanted = np.bytes_(id_.encode())
        at = int(np.searchsorted(self.array, wanted))
        return bool(at < len(self.array) and self.array[at] == wanted)

    def __eq__(self, other: object) -> bool:
        return np.array_equal(self.array, other.array) if isinstance(other, UnitIdSet) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # nobody needs it, and it would read them all

    def are_in(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        """Tells of each of some ids whether it is one of these."""
        are_in = np.zeros(len(ids), bool)
        for start in range(0, len(ids) if len(self) else 0, READ_AT_ONCE):  # which needs no copy of all
            some = ids[start : start + READ_AT_ONCE]
            at = np.minimum(np.searchsorted(self.array, some), len(self) - 1)
            are_in[start : start + READ_AT_ONCE] = self.array[at] == some
        return are_in

    def without(self, ids: IdArray) -> "UnitIdSet":
        """Gives those that are none of some others."""
        return UnitIdSet(self.array[~UnitIdSet(ids).are_in(self.array)])
