"""The page of a table's snapshots: what each holds, what changed, and how labels and scores drift."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise

from markupsafe import Markup

from pipeline.evaluation.history_charts import HistoryAxes, band, bars, line
from pipeline.evaluation.html_page import render_page

LABELS_DRAWN = 40  # most frequent ones of the newest snapshot first
WIDE, HALF, SMALL = (900.0, 170.0), (400.0, 150.0), (170.0, 90.0)  # areas inside the axes
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class SnapshotFigures:
    """What the page shows of one snapshot."""

    number: int
    published: str
    checkpoint: str
    keys: tuple[str, ...]  # what gave its scores and labels
    predictions: int
    errors: int
    unlabelled: int
    changes: tuple[int, int, int] | None  # documents added, changed, removed; None where it is not known
    is_first: bool  # all its documents were added, which is no change
    labels: dict[str, int]  # documents with each label
    scores: dict[str, list[int]]  # these by bins of equal width from 0 to 1; empty where it is not known

    @property
    def documents(self) -> int:
        return self.predictions + self.errors

    def share(self, label: str) -> float:
        """Gives the share of the predictions that have a label."""
        return self.labels.get(label, 0) / max(1, self.predictions)


@dataclass(frozen=True, slots=True)
class LabelCard:
    """The charts of one label."""

    label: str
    shares: str  # before and now, in words
    share_chart: Markup
    quantiles: str | None  # of the newest snapshot's scores, in words
    score_chart: Markup | None


def history_report(table: str, snapshots: Sequence[SnapshotFigures], partial: int) -> str:
    """Writes the page as HTML.

    Args:
        table: its name.
        snapshots: the complete ones, oldest first; one at least.
        partial: how many partial ones there are, which are not drawn.
    """
    names = [str(snapshot.number) for snapshot in snapshots]
    marked = [n for n, (one, other) in enumerate(pairwise(snapshots), 1) if one.keys != other.keys]
    labels = sorted({label for each in snapshots for label in each.labels}, key=lambda label: _rank(snapshots, label))
    return render_page(
        files("pipeline.evaluation").joinpath("history.html").read_text(encoding="utf-8"),
        table=table,
        snapshots=snapshots,
        newest=snapshots[-1],
        before=snapshots[-2] if len(snapshots) > 1 else None,
        moved=_most_moved(snapshots, labels),
        notes=list(_notes(snapshots, partial)),
        has_marks=bool(marked),
        documents=_counts(names, marked, snapshots, "documents"),
        errors=_counts(names, marked, snapshots, "errors"),
        changes=_changes(names, marked, snapshots),
        cards=[_card(names, marked, snapshots, label) for label in labels[:LABELS_DRAWN]],
        left_out=max(0, len(labels) - LABELS_DRAWN),
    )


def histogram_quantile(counts: Sequence[int], part: float) -> float:
    """Gives the score below which a part of the documents lies, taken as evenly spread inside each bin."""
    wanted, below = part * sum(counts), 0.0
    for number, count in enumerate(counts):
        if count and below + count >= wanted:
            return (number + (wanted - below) / count) / len(counts)
        below += count
    return 1.0


def _rank(snapshots: Sequence[SnapshotFigures], label: str) -> tuple[float, str]:
    return (-snapshots[-1].share(label), label)


def _most_moved(snapshots: Sequence[SnapshotFigures], labels: Sequence[str]) -> tuple[str, float, float] | None:
    """The label whose share has changed most from the last snapshot but one, and its two shares."""
    if len(snapshots) < 2 or not labels:
        return None
    shares = [(label, snapshots[-2].share(label), snapshots[-1].share(label)) for label in labels]
    return max(shares, key=lambda each: abs(each[2] - each[1]))


def _notes(snapshots: Sequence[SnapshotFigures], partial: int) -> Iterator[str]:
    if partial:
        yield f"Not drawn: {partial:,} partial snapshot{'' if partial == 1 else 's'}, of runs with --limit."
    unknown = [snapshot.number for snapshot in snapshots if snapshot.changes is None]
    if unknown:
        yield f"Which documents changed is not known of {_listed(unknown)}."
    unknown = [snapshot.number for snapshot in snapshots if snapshot.labels and not snapshot.scores]
    if unknown:
        yield f"With which scores documents have their labels is not known of {_listed(unknown)}."


def _listed(numbers: Sequence[int]) -> str:
    return f"snapshot{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers[:10]))}" + (
        f" and {len(numbers) - 10:,} more" if len(numbers) > 10 else ""
    )


def _counts(names: list[str], marked: list[int], snapshots: Sequence[SnapshotFigures], what: str) -> Markup:
    values: list[int] = [getattr(snapshot, what) for snapshot in snapshots]
    high = _rounded_up(max(values))
    told = [f"{_named(snapshot)}: {value:,} {what}" for snapshot, value in zip(snapshots, values, strict=True)]
    return line(HistoryAxes(names, marked, HALF, high), values, told, compact(high), what.capitalize())


def _changes(names: list[str], marked: list[int], snapshots: Sequence[SnapshotFigures]) -> Markup:
    shown = [None if snapshot.is_first else snapshot.changes for snapshot in snapshots]
    kinds = {
        kind: [None if each is None else each[n] for each in shown]
        for n, kind in enumerate(("added", "changed", "removed"))
    }
    high = _rounded_up(max((sum(each) for each in shown if each), default=1))
    told = [f"{_named(snapshot)}: {_told(snapshot)}" for snapshot in snapshots]
    return bars(HistoryAxes(names, marked, WIDE, high), kinds, told, compact(high), "Documents that changed")


def _told(snapshot: SnapshotFigures) -> str:
    if snapshot.changes is None:
        return "not known"
    added, changed, removed = snapshot.changes
    return "the first one" if snapshot.is_first else f"{added:,} added, {changed:,} changed, {removed:,} removed"


def _card(names: list[str], marked: list[int], snapshots: Sequence[SnapshotFigures], label: str) -> LabelCard:
    shares = [snapshot.share(label) for snapshot in snapshots]
    high = min(1.0, _rounded_up(max(shares)))
    told = [
        f"{_named(snapshot)}: {share:.2%}, {snapshot.labels.get(label, 0):,} documents"
        for snapshot, share in zip(snapshots, shares, strict=True)
    ]
    counts = [snapshot.scores.get(label) for snapshot in snapshots]
    quantiles = [_quantiles(each) for each in counts]
    before = f"{shares[-2]:.2%} → " if len(shares) > 1 else ""
    has_scores = any(quantiles)
    return LabelCard(
        label=label,
        shares=f"{before}{shares[-1]:.2%}",
        share_chart=line(HistoryAxes(names, marked, SMALL, high), shares, told, f"{high:.3g}", f"Share of {label}"),
        quantiles=_spread(quantiles[-1]) if quantiles[-1] else None,
        score_chart=band(
            HistoryAxes(names, marked, SMALL, 1.0),
            quantiles,
            [f"{_named(each)}: {_spread(q) if q else ''}" for each, q in zip(snapshots, quantiles, strict=True)],
        )
        if has_scores
        else None,
    )


def _quantiles(counts: Sequence[int] | None) -> tuple[float, float, float] | None:
    if not counts or not sum(counts):
        return None
    low, median, high = (histogram_quantile(counts, part) for part in QUANTILES)
    return low, median, high


def _spread(quantiles: tuple[float, float, float]) -> str:
    low, median, high = quantiles
    return f"median {median:.2f}, 80 % from {low:.2f} to {high:.2f}"


def _named(snapshot: SnapshotFigures) -> str:
    return f"{snapshot.number}, {snapshot.published}"


def _rounded_up(value: float) -> float:
    """The next of a few round numbers times a power of ten; 1 for nothing."""
    if not value:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        power * step for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if power * step >= value * (1 - 1e-12)
    )


def compact(value: float) -> str:
    """Writes a number in four letters or so: `950`, `1.2k`, `25M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
