"""The units of a plan that have no fragment yet, without a copy of them."""

from collections.abc import Iterator
from itertools import islice
from typing import overload

import numpy as np
import numpy.typing as npt

from pipeline.corpus.slices import Unit
from pipeline.packed import PackedList
from pipeline.tables.unit_ids import UnitIds
from pipeline.value_sequence import ValueSequence

UnitWithId = tuple[str, Unit]


class MissingUnits(ValueSequence[UnitWithId]):
    """Ids and units, in order; to be gone through rather than to be asked for one here and there."""

    def __init__(self, units: PackedList[Unit], ids: UnitIds, is_missing: npt.NDArray[np.bool_]) -> None:
        """Take all units of a plan, their ids, and which of them are missing."""
        self._units, self.is_missing = units, is_missing
        self.ids = ids if is_missing.all() else UnitIds(ids.array[is_missing])

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[UnitWithId]:
        return zip(self.ids, self._units.compressed(self.is_missing), strict=True)

    @overload
    def __getitem__(self, index: int) -> UnitWithId: ...
    @overload
    def __getitem__(self, index: slice) -> list[UnitWithId]: ...
    def __getitem__(self, index: int | slice) -> UnitWithId | list[UnitWithId]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return next(islice(self, places, None))
