"""How far a run is: what is done of what the plan knows, how fast, on how many actors, at what cost.

A unit's documents and tokens are known when it is done. Until then the share of the corpus's bytes that lie in finished
units stands for them, so that totals and times to come are estimates.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.planning.plan import Plan
from pipeline.planning.stored_bytes import bytes_of_missing
from pipeline.runs.run_history import SlowestUnits, Throughput
from pipeline.runs.unit_done import UnitDone

RECENT_SECONDS = 60.0  # that `now` means
STREAM_RATIO = 4  # bytes of text in a byte of a file that can't be cut before it is read: most are compressed
HOUR = 3600.0
UNIT_STAGES = ("read", "text", "encode", "write", "wait")


@dataclass(slots=True)
class LabelledWork:
    """What a run did in one table.

    Attributes:
        taken_over: documents of it whose text had scores.
        padding: tokens that were computed beside `tokens`.
        seconds: since labelling began.
        stage_seconds: of each of UNIT_STAGES, summed over all processes.
        lengths: documents by the number of bits that the count of their tokens has.
    """

    units: int = 0
    documents: int = 0
    errors: int = 0
    taken_over: int = 0
    windows: int = 0
    tokens: int = 0
    padding: int = 0
    seconds: float = 0.0
    stage_seconds: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    devices: Counter[str] = field(default_factory=Counter)  # units that each computed
    throughput: Throughput = field(default_factory=Throughput)
    slowest: SlowestUnits = field(default_factory=SlowestUnits)

    def add(self, unit: UnitDone, seconds: float) -> None:
        """Counts one more unit, which was done when labelling had taken so long."""
        self.seconds = seconds
        self.units += not unit.incomplete
        self.documents += unit.documents
        self.errors += unit.errors
        self.taken_over += unit.taken_over
        self.windows += unit.windows
        self.tokens += unit.tokens
        self.padding += unit.padding
        for stage in UNIT_STAGES:
            self.stage_seconds[stage] += getattr(unit, f"{stage}_s")
        self.lengths.update(dict(enumerate(unit.lengths)))
        if unit.device:
            self.devices[unit.device] += 1
        self.throughput.add(unit.tokens, max(0.0, seconds - unit.encode_s), seconds)
        self.slowest.add(unit)


@dataclass(frozen=True, slots=True)
class Figures:
    """How far the work on one table is, at one moment; None is what nobody can know yet. Seconds, dollars, shares."""

    units: int
    units_total: int | None
    documents: int
    documents_total: int | None
    errors: int
    taken_over: int
    windows: int
    tokens: int
    tokens_total: int | None  # an estimate, until all is done
    tokens_per_second: float  # since labelling began
    tokens_per_second_now: float
    share: float | None
    seconds: float  # since labelling began
    seconds_left: float | None
    padding_share: float
    actors: int
    busy_share: float | None  # of the actors' recent time: computing, not waiting for packs
    actor_hours: float
    usd: float | None


class Progress:
    """What is done of some plans, one for each table of a run, by the units that are reported.

    `clock` gives seconds that only grow.
    """

    def __init__(self, plans: Sequence[Plan], clock: Callable[[], float] = time.monotonic) -> None:
        self.works = [LabelledWork() for _ in plans]
        self._plans, self._clock = plans, clock
        self._started = clock()
        self._weights = [UnitWeights.of(plan) for plan in plans]
        self._weight_done = [0.0 for _ in plans]
        self._recent: deque[tuple[float, UnitDone]] = deque()
        self._actors: dict[str, float] = {}  # since when each is known to be there
        self._lock = threading.Lock()  # units are added in one thread, and looked at in others

    def add(self, unit: UnitDone) -> None:
        """Counts one more unit that is done."""
        with self._lock:
            self._add(unit)

    def _add(self, unit: UnitDone) -> None:
        now, work = self._clock(), self.works[unit.table]
        work.add(unit, now - self._started)
        if not unit.incomplete:
            self._weight_done[unit.table] += self._weights[unit.table].weight(unit.unit)
        if unit.actor:
            self._actors.setdefault(unit.actor, max(self._started, now - unit.encode_s - unit.wait_s))
        self._recent.append((now, unit))
        while self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()

    @property
    def actor_hours(self) -> float:
        """Hours of encoder actors: those that the job wants at once from the start, others since their first unit."""
        now, wanted = self._clock(), self._plans[0].job.compute.actors
        since = sorted(self._actors.values())
        since[:wanted] = [self._started] * wanted
        return sum(now - moment for moment in since) / HOUR

    @property
    def minutes(self) -> float:
        """Minutes since labelling began."""
        return (self._clock() - self._started) / 60

    @property
    def usd(self) -> float | None:
        """What it cost so far, in dollars; None without a price."""
        price = self._plans[0].job.price
        return None if price is None else price * self.actor_hours

    @property
    def tokens(self) -> int:
        """Tokens that were computed, in all tables."""
        return sum(work.tokens for work in self.works)

    def figures(self, table: int) -> Figures:
        """Tells how far the table of this number is."""
        with self._lock:
            return self._figures(table)

    def _figures(self, table: int) -> Figures:
        work, plan, weights = self.works[table], self._plans[table], self._weights[table]
        seconds = self._clock() - self._started
        units_total = None if plan.streams else len(plan.missing)
        is_whole = work.units == units_total  # which no sum of weights gives to the last digit
        share = 1.0 if is_whole else min(1.0, self._weight_done[table] / weights.total) if weights.total else None
        recent = [(moment, unit) for moment, unit in self._recent if moment >= self._clock() - RECENT_SECONDS]
        tokens_now = sum(unit.tokens for _, unit in recent if unit.table == table)
        encode = sum(unit.encode_s for _, unit in recent)
        wait = sum(unit.wait_s for _, unit in recent)
        computed = work.tokens + work.padding
        return Figures(
            units=work.units,
            units_total=units_total,
            documents=work.documents,
            documents_total=weights.documents,
            errors=work.errors,
            taken_over=work.taken_over,
            windows=work.windows,
            tokens=work.tokens,
            tokens_total=round(work.tokens / share) if share and work.tokens else None,
            tokens_per_second=work.tokens / seconds if seconds else 0.0,
            tokens_per_second_now=tokens_now / min(RECENT_SECONDS, seconds) if seconds else 0.0,
            share=share,
            seconds=seconds,
            seconds_left=seconds * (1 - share) / share if share else None,
            padding_share=work.padding / computed if computed else 0.0,
            actors=len(self._actors),
            busy_share=encode / (encode + wait) if encode + wait else None,
            actor_hours=self.actor_hours,
            usd=self.usd,
        )


@dataclass(frozen=True, slots=True)
class UnitWeights:
    """How much of a plan's missing work each unit is, in bytes of its file; those of parts of streams are guessed.

    A million units are kept in 20 MB.

    Attributes:
        ids: of the units, as 16 bytes, sorted.
        bytes_of: of each.
        part_bytes: what a unit weighs that the plan doesn't name, for it is a part of a stream.
        documents: of all missing units, where footers tell; else None.
    """

    ids: npt.NDArray[np.bytes_]
    bytes_of: npt.NDArray[np.float32]
    part_bytes: float
    total: float
    documents: int | None

    @classmethod
    def of(cls, plan: Plan) -> "UnitWeights":
        """Weighs the units that a plan lacks."""
        sizes = bytes_of_missing(plan)
        ids = np.frombuffer(bytes.fromhex(plan.missing.ids.array.tobytes().decode()), "S16")
        order = np.argsort(ids)
        documents = [unit.documents for _, unit in plan.missing if unit.documents is not None]
        return cls(
            ids=ids[order],
            bytes_of=sizes.astype(np.float32)[order],
            part_bytes=plan.job.units.text_bytes / STREAM_RATIO,
            total=float(sizes.sum()),
            documents=sum(documents) if len(documents) == len(plan.missing) else None,
        )

    def weight(self, unit: str) -> float:
        """Gives the weight of a unit by its id, in bytes of its file."""
        id_ = np.bytes_(bytes.fromhex(unit))
        place = int(np.searchsorted(self.ids, id_))
        is_planned = place < len(self.ids) and self.ids[place] == id_
        return float(self.bytes_of[place]) if is_planned else self.part_bytes
