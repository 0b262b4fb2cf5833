"""Where in a corpus a sample is read: places at equal distances along its stored bytes, and what is read at each.

What lies at a place is read with bounded cost. Of a unit of Parquet all rows are decoded, of JSON Lines a megabyte of
the unit's range. A compressed file can only be entered at its beginning: a few megabytes of it stand for the rest, as
the first units of a large row group do for the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.corpus.slices import Bytes, ParquetSlice, Rows, Unit
from pipeline.identity import digest

PLACES = 64
UNIT_OVERHEAD = 4096.0  # bytes that a unit weighs beside its own, or files of some bytes would hardly ever be drawn
RANGE_BYTES = 1_000_000  # read of a range of JSON Lines
START_BYTES = 4 * 2**20  # read of a file that can only be entered at its beginning
NEAR_UNITS = 8  # of a row group: what lies deeper costs the decoding of all before it
WHOLE_BYTES, WHOLE_UNITS = 4_000_000, 256  # up to here all of a corpus is read


@dataclass(frozen=True, slots=True)
class Extract:
    """What is read in one go: a unit, a part of its range, or the first `start_bytes` of its file."""

    unit: Unit
    start_bytes: int | None
    weight: float  # of all of it, in bytes that are stored


@dataclass(frozen=True, slots=True)
class SamplePlace:
    """A place of a corpus: some documents of an extract, from a share of it on; all of them where `is_all`."""

    extract: Extract
    at: float  # in [0, 1)
    is_all: bool = False


@dataclass(frozen=True, slots=True)
class SampleFrame:
    """The places of a corpus's units, in order.

    Attributes:
        weight: of all units, in bytes that are stored.
        is_whole: the places are all units: what is counted there is no estimate.
    """

    places: tuple[SamplePlace, ...]
    weight: float
    is_whole: bool


def sample_frame(weighed: Iterable[tuple[Unit, float]], seed: str) -> SampleFrame:
    """Chooses where some units are read, each given with its bytes that are stored; the same for the same seed."""
    by_stratum = sorted(weighed, key=lambda one: _stratum(one[0]))
    ordered, stored = [unit for unit, _ in by_stratum], [n_bytes for _, n_bytes in by_stratum]
    weights = np.array(stored) + UNIT_OVERHEAD
    is_whole = sum(stored) <= WHOLE_BYTES and len(ordered) <= WHOLE_UNITS and not any(map(_is_part, ordered))
    if is_whole:
        whole = [Extract(unit, None, weight) for unit, weight in zip(ordered, weights.tolist(), strict=True)]
        return SampleFrame(tuple(SamplePlace(one, 0.0, True) for one in whole), float(weights.sum()), True)
    ends = np.cumsum(weights)
    first = int(digest("sample/1", seed)[:12], 16) / 16**12
    at = (np.arange(PLACES) + first) / PLACES * ends[-1]
    numbers = np.searchsorted(ends, at, side="right").tolist()
    shares = 1 - (ends[numbers] - at) / weights[numbers]
    drawn = zip(numbers, shares.tolist(), strict=True)
    places = tuple(_place(ordered[number], stored[number], share) for number, share in drawn)
    return SampleFrame(places, float(ends[-1]), False)


def _stratum(unit: Unit) -> tuple[object, ...]:
    """What makes units alike: neighbours in this order are."""
    file = unit.file
    partitions = tuple((key, value or "") for key, value in file.partitions)
    slice_ = unit.slice
    number = slice_.part_number or slice_.byte_range[0]
    first = slice_.first_position if isinstance(slice_, ParquetSlice) else number
    return file.format, file.compression or "", partitions, file.stored.size, file.uri, first


def _is_part(unit: Unit) -> bool:
    return unit.slice.part_number is not None


def _place(unit: Unit, stored: float, share: float) -> SamplePlace:
    match unit.slice:
        case Bytes(start=start, stop=stop) if stop - start > RANGE_BYTES:
            begin = start + int(share * (stop - start - RANGE_BYTES))
            part = replace(unit, slice=Bytes(begin, begin + RANGE_BYTES))
            return SamplePlace(Extract(part, None, _weight(stored, RANGE_BYTES / (stop - start))), 0.0)
        case Rows(start=start, stop=stop) if start >= NEAR_UNITS * (stop - start):
            rows = stop - start
            near = start // rows % NEAR_UNITS * rows
            unit = replace(unit, slice=replace(unit.slice, start=near, stop=near + rows))
        case slice_ if slice_.stream:
            size, unit = unit.file.stored.size, replace(unit, slice=slice_.stream, documents=None)
            read = START_BYTES if size > START_BYTES else None
            return SamplePlace(Extract(unit, read, _weight(stored, (read or size) / max(1.0, stored))), share)
    return SamplePlace(Extract(unit, None, stored + UNIT_OVERHEAD), share)


def _weight(stored: float, share: float) -> float:
    return (stored + UNIT_OVERHEAD) * share
