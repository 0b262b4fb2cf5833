"""Charts over snapshots as inline SVG: one place for each snapshot, oldest first, whatever its number.

Colours and fonts are the page's: elements only carry classes of its style sheet.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

from markupsafe import Markup

from pipeline.evaluation.charts import tag

LEFT, TOP, BELOW = 44, 10, 22
POINTS_SHOWN = 40  # snapshots up to which each has its point, with its figure
LARGE = 700  # width above which a small screen scrolls a chart rather than shrink it
BAR_SHARE = 0.7  # of a snapshot's place
A = TypeVar("A")
Values = Sequence[float | None]  # of each snapshot; None where it is not known


class HistoryAxes:
    """Where things are in a chart, and the lines that all charts have."""

    def __init__(self, names: Sequence[str], marked: Sequence[int], size: tuple[float, float], high: float) -> None:
        """Makes the axes.

        Args:
            names: of the snapshots.
            marked: those that a dashed line is drawn before.
            size: of the area inside the axes.
            high: value at the top; 0 is at the bottom.
        """
        self.names, self.marked, self.high = names, marked, high or 1.0
        self.width, self.height = size
        self.bottom = TOP + self.height

    @property
    def place(self) -> float:
        """Width of a snapshot's place."""
        return self.width / len(self.names)

    def x(self, snapshot: int) -> float:
        return LEFT + (snapshot + 0.5) * self.place

    def y(self, value: float) -> float:
        return self.bottom - min(value, self.high) / self.high * self.height

    def drawn(self, parts: Sequence[Markup], top: str, title: str, bottom: str = "0") -> Markup:
        """Draws the chart; `top` and `bottom`: what the ends of the upward axis are called."""
        lines = Markup("").join(
            tag("line", x1=x, y1=TOP, x2=x, y2=self.bottom, class_="diagonal")
            for x in (LEFT + snapshot * self.place for snapshot in self.marked)
        )
        half = f"M{LEFT} {TOP + self.height / 2}h{self.width}M{LEFT} {TOP}h{self.width}"
        frame = [
            tag("path", d=half, class_="grid"),
            lines,
            *parts,
            tag("path", d=f"M{LEFT} {TOP}V{self.bottom}H{LEFT + self.width}", class_="axis"),
            _tick(top, LEFT - 6, TOP + 4, "end"),
            _tick(bottom, LEFT - 6, self.bottom, "end"),
            _tick(self.names[0], self.x(0), self.bottom + 15, "middle"),
        ]
        if len(self.names) > 1:
            frame.append(_tick(self.names[-1], self.x(len(self.names) - 1), self.bottom + 15, "middle"))
        width, height = LEFT + self.width + 14, self.bottom + BELOW
        kind = "large" if width > LARGE else "small"
        box = f"0 0 {width} {height}"
        return tag("svg", *frame, role="img", aria_label=title, viewBox=box, width=width, height=height, class_=kind)


def line(axes: HistoryAxes, values: Values, told: Sequence[str], top: str, title: str) -> Markup:
    """Draws one value over the snapshots; `told`: what is said of each where the pointer is."""
    parts = list(_curves(axes, values))
    if len(values) <= POINTS_SHOWN:
        for snapshot, value in enumerate(values):
            if value is not None:
                parts.append(_point(axes, snapshot, value, told[snapshot]))
    return axes.drawn(parts, top, title)


def band(axes: HistoryAxes, quantiles: Sequence[tuple[float, float, float] | None], told: Sequence[str]) -> Markup:
    """Draws the median of something over the snapshots, with a band from a lower to a higher quantile."""
    parts: list[Markup] = []
    for stretch in _stretches(quantiles):
        upper = [(axes.x(at), axes.y(high)) for at, (_, _, high) in stretch]
        lower = [(axes.x(at), axes.y(low)) for at, (low, _, _) in stretch]
        if len(stretch) == 1:  # an area needs two: a short stroke
            ((x, high), (_, low)) = upper[0], lower[0]
            half = min(4.0, axes.place / 2)
            upper, lower = [(x - half, high), (x + half, high)], [(x - half, low), (x + half, low)]
        parts.append(tag("polygon", points=_joined([*upper, *reversed(lower)]), class_="area"))
    medians = [None if each is None else each[1] for each in quantiles]
    parts += _curves(axes, medians)
    if len(medians) <= POINTS_SHOWN:
        parts += [_point(axes, n, value, told[n]) for n, value in enumerate(medians) if value is not None]
    return axes.drawn(parts, "1", "Scores over snapshots")


def bars(axes: HistoryAxes, kinds: Mapping[str, Values], told: Sequence[str], top: str, title: str) -> Markup:
    """Draws values on top of each other, a bar for each snapshot.

    Args:
        axes: whose top is at least the largest sum.
        kinds: values by the class of their part of a bar, from the bottom.
        told: what is said of each snapshot where the pointer is.
        top: what the end of the axis is called.
        title: of the chart.
    """
    parts = []
    for snapshot, text in enumerate(told):
        base, rects = 0.0, [tag("title", text)]
        for kind, values in kinds.items():
            value = values[snapshot] or 0
            upper, lower = axes.y(base + value), axes.y(base)
            x, width = axes.x(snapshot) - axes.place * BAR_SHARE / 2, axes.place * BAR_SHARE
            if value:
                rects.append(tag("rect", x=x, y=upper, width=width, height=max(0.6, lower - upper), class_=kind))
            base += value
        parts.append(tag("g", *rects))
    return axes.drawn(parts, top, title)


def _curves(axes: HistoryAxes, values: Values) -> Iterator[Markup]:
    for stretch in _stretches(values):
        yield tag("polyline", points=_joined((axes.x(at), axes.y(value)) for at, value in stretch), class_="curve")


def _stretches(values: Sequence[A | None]) -> Iterator[list[tuple[int, A]]]:
    """Runs of snapshots that have a value: nothing is drawn across those that have none."""
    for is_known, run in groupby(enumerate(values), key=lambda each: each[1] is not None):
        if is_known:
            yield [(at, value) for at, value in run if value is not None]


def _joined(points: Iterator[tuple[float, float]] | Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _point(axes: HistoryAxes, snapshot: int, value: float, text: str) -> Markup:
    return tag(
        "circle", tag("title", text), cx=axes.x(snapshot), cy=axes.y(value), r=min(3.0, axes.place / 3), class_="step"
    )


def _tick(text: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", text, x=x, y=y, text_anchor=anchor, class_="tick")
