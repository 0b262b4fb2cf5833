"""What a run remembers of its units for its report, in memory that doesn't grow with their number."""

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.planning.plan import Plan
from pipeline.runs.unit_done import UnitDone

BUCKETS = 200  # of Throughput, at most
SLOWEST = 10  # units
SHORTEST = 1e-6  # seconds, of a bucket that has a rate


class Throughput:
    """Tokens by the time in which they were computed: buckets of equal width, which merge in pairs as time goes on."""

    def __init__(self) -> None:
        self.bucket_seconds = 1.0
        self._tokens = np.zeros(BUCKETS)

    def add(self, tokens: int, start: float, end: float) -> None:
        """Spreads tokens evenly over a time, in seconds since labelling began."""
        while end > self.bucket_seconds * BUCKETS:
            merged = self._tokens.reshape(-1, 2).sum(axis=1)
            self._tokens = np.concatenate([merged, np.zeros(BUCKETS - len(merged))])
            self.bucket_seconds *= 2
        last = max(0, math.ceil(end / self.bucket_seconds) - 1)
        first = min(int(start / self.bucket_seconds), last)
        if first == last:
            self._tokens[first] += tokens
            return
        bounds = np.clip(np.arange(first, last + 2) * self.bucket_seconds, start, end)
        self._tokens[first : last + 1] += tokens * np.diff(bounds) / (end - start)

    def rates(self, seconds: float) -> npt.NDArray[np.float64]:
        """Gives tokens/s in each bucket, of a labelling that took so long; the last takes in what is less than half."""
        buckets = max(1, min(BUCKETS, round(seconds / self.bucket_seconds)))
        tokens, lengths = self._tokens[:buckets].copy(), np.full(buckets, self.bucket_seconds)
        tokens[-1] += self._tokens[buckets:].sum()
        lengths[-1] = seconds - (buckets - 1) * self.bucket_seconds
        rates: npt.NDArray[np.float64] = np.zeros(buckets)
        return np.asarray(np.divide(tokens, lengths, out=rates, where=lengths > SHORTEST))


@dataclass(slots=True)
class SlowestUnits:
    """The units that were worked on longest, a unit's wait for its turn aside."""

    _heap: list[tuple[float, int, UnitDone]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    def add(self, unit: UnitDone) -> None:
        """Looks whether a unit is among them."""
        entry = (work_seconds(unit), -next(self._order), unit)
        if entry[0] and len(self._heap) < SLOWEST:
            heapq.heappush(self._heap, entry)
        elif entry[0]:
            heapq.heappushpop(self._heap, entry)

    def __iter__(self) -> Iterator[UnitDone]:
        return (unit for _, _, unit in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))


@dataclass(frozen=True, slots=True)
class SlowUnit:
    """A unit, and where its documents are."""

    done: UnitDone
    uri: str | None  # of its file; None where no plan names it
    part: tuple[object, ...]  # which part of its file it is: Slice.form


def work_seconds(unit: UnitDone) -> float:
    """Sums up the time that was spent on a unit, in all processes."""
    return unit.read_s + unit.text_s + unit.encode_s + unit.write_s


def located(units: Iterable[UnitDone], plan: Plan) -> Sequence[SlowUnit]:
    """Looks up where some units' documents are, in their order."""
    some = list(units)
    wanted = {unit.unit for unit in some}
    places = {
        id_: (unit.file.stored.uri, unit.slice.form)
        for id_, unit in zip(plan.unit_ids, plan.units, strict=True)
        if id_ in wanted
    }
    return [SlowUnit(unit, *places.get(unit.unit, (None, ()))) for unit in some]
