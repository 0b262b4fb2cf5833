"""What a run's report shows: figures of its record, of its units, and of the snapshot that it made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.runs.least_sure import LeastSure
from pipeline.runs.progress import UNIT_STAGES, LabelledWork
from pipeline.runs.run_history import SlowUnit
from pipeline.runs.run_record import RunRecord
from pipeline.tables.score_histograms import SCORE_BINS
from pipeline.tables.snapshots import Manifest
from pipeline.tables.verdicts import Verdict, verdicts_of


@dataclass(frozen=True, slots=True)
class RunLabel:
    """Documents with a label, None for those without one, and their share of the predictions, now and before."""

    label: str | None
    documents: int
    share: float
    before: float | None  # None where no earlier snapshot tells

    @property
    def change(self) -> float | None:
        """How far the share moved."""
        return None if self.before is None else self.share - self.before


@dataclass(frozen=True, slots=True)
class LengthBucket:
    """Documents of `low` to `high` tokens."""

    low: int
    high: int
    documents: int


@dataclass(frozen=True, slots=True)
class ScoreShares:
    """How many documents have a label with a score in each of SCORE_BINS bins from 0 to 1, now and before.

    `label` None: all labels together. `before` is empty where no earlier snapshot tells.
    """

    label: str | None
    bins: Sequence[int]
    before: Sequence[int]

    @property
    def documents(self) -> int:
        """Of all bins."""
        return sum(self.bins)


@dataclass(frozen=True, slots=True)
class Expectation:
    """A figure that was estimated before a run, and what it came to. `low`, `high`: None where no interval is known."""

    name: str
    expected: float
    low: float | None
    high: float | None
    actual: float | None

    @property
    def deviation(self) -> float | None:
        """How far the actual figure is from the expected one, as a share of this."""
        return None if self.actual is None or not self.expected else self.actual / self.expected - 1

    @property
    def is_within(self) -> bool | None:
        """Whether the actual figure lies in the interval."""
        if self.actual is None or self.low is None or self.high is None:
            return None
        return self.low <= self.actual <= self.high


@dataclass(frozen=True, slots=True)
class RunFindings:
    """A run on one table, at its end.

    Attributes:
        record: what is kept of it.
        work: what it computed; None where it computed nothing.
        manifest: what it published, or the candidate that was held back.
        before: the snapshot before that.
        least_sure: of `manifest`.
        slowest: of `work`.
    """

    record: RunRecord
    work: LabelledWork | None = None
    manifest: Manifest | None = None
    before: Manifest | None = None
    least_sure: LeastSure | None = None
    slowest: Sequence[SlowUnit] = ()

    @property
    def verdicts(self) -> list[Verdict]:
        """What gates made of the snapshot."""
        return verdicts_of(self.manifest.run) if self.manifest else []

    @property
    def labels(self) -> list[RunLabel]:
        """Labels by their number of documents, those that went too; last what has none."""
        if self.manifest is None:
            return []
        now, before = _label_counts(self.manifest), _label_counts(self.before) if self.before else {}
        total = self.manifest.counts["predictions"]
        total_before = self.before.counts["predictions"] if self.before else 0
        shares = [
            RunLabel(
                label,
                now.get(label, 0),
                now.get(label, 0) / total if total else 0.0,
                before.get(label, 0) / total_before if total_before else None,
            )
            for label in {**now, **before}
        ]
        return sorted(shares, key=lambda share: (share.label is None, -share.documents, share.label or ""))

    @property
    def has_one_label_each(self) -> bool:
        """Whether no document has several labels: then shares add up to 1."""
        return self.manifest is not None and any(column["name"] == "label" for column in self.manifest.columns)

    @property
    def scores(self) -> list[ScoreShares]:
        """All labels together, then those of most documents; empty where the table has no scores."""
        if self.manifest is None or not self.manifest.scores:
            return []
        now, before = self.manifest.scores, self.before.scores if self.before else {}
        each = [ScoreShares(label, bins, before.get(label, ())) for label, bins in now.items() if sum(bins)]
        each.sort(key=lambda shares: -shares.documents)
        together = ScoreShares(None, _summed(now), _summed(before) if before else ())
        return [together, *each] if together.documents else []

    @property
    def lengths(self) -> list[LengthBucket]:
        """Documents that were read, by their number of tokens: buckets that double, empty ones between others too."""
        counts = self.work.lengths if self.work else {}
        filled = [bits for bits, documents in counts.items() if documents]
        if not filled:
            return []
        return [
            LengthBucket(1 << bits >> 1, (1 << bits) - 1, counts[bits]) for bits in range(min(filled), max(filled) + 1)
        ]

    @property
    def stages(self) -> list[tuple[str, float]]:
        """Seconds of each stage, in all processes; empty where nothing was computed."""
        if self.work is None or not self.work.stage_seconds.total():
            return []
        return [(stage, self.work.stage_seconds[stage]) for stage in UNIT_STAGES]

    @property
    def rates(self) -> list[float]:
        """Tokens/s in equal times since labelling began; empty where nothing was computed."""
        if self.work is None or not self.work.tokens:
            return []
        rates: list[float] = self.work.throughput.rates(self.work.seconds).tolist()
        return rates

    @property
    def expectations(self) -> list[Expectation]:
        """What was estimated of the run beside what it came to."""
        return list(_expectations(self.record))


def _label_counts(manifest: Manifest) -> dict[str | None, int]:
    counts: dict[str | None, int] = dict(manifest.labels.items())
    if unlabelled := manifest.counts["unlabelled"]:
        counts[None] = unlabelled
    return counts


def _summed(scores: Mapping[str, Sequence[int]]) -> list[int]:
    return [sum(bins[bin_] for bins in scores.values()) for bin_ in range(SCORE_BINS)]


def _expectations(record: RunRecord) -> Iterator[Expectation]:
    progress = record.progress or {}
    actual = {
        "documents": progress.get("documents"),
        "tokens": progress.get("tokens"),
        "windows": progress.get("windows"),
        "units": progress.get("units"),
        "seconds": progress.get("seconds"),
        "actor_hours": record.actor_hours,
        "usd": record.usd,
    }
    for name, value in actual.items():
        estimate: Any = (record.estimate or {}).get(name)
        if isinstance(estimate, Mapping):
            yield Expectation(name, estimate["value"], estimate.get("low"), estimate.get("high"), value)
        elif estimate is not None:
            yield Expectation(name, estimate, None, None, value)
