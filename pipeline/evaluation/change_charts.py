"""Charts of what has changed between two snapshots, as inline SVG: what was before is grey, what is now is blue."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from pipeline.evaluation.charts import axes, svg, tag

BAR_WIDTH, BAR_HEIGHT = 150, 16


def change_bar(change: float, largest: float) -> Markup:
    """Draws a change to the left or right of the middle; `largest`, of all that it is seen with, fills a half."""
    middle = BAR_WIDTH / 2
    length = middle * abs(change) / largest if largest else 0.0
    start = middle - length if change < 0 else middle
    kind = "wrong" if change < 0 else "right"
    parts = [
        tag("rect", x=start, y=3, width=length, height=BAR_HEIGHT - 6, rx=2, class_=kind),
        tag("path", d=f"M{middle} 0V{BAR_HEIGHT}", class_="axis"),
    ]
    return svg(BAR_WIDTH, BAR_HEIGHT, parts, f"{change:+.2%}")


def score_histogram(bins: Sequence[tuple[int, int]]) -> Markup:
    """Draws how many documents have a score in each bin from 0 to 1, before beside after, on a log scale."""
    left, top, width, height = 30, 12, 320, 180
    bottom, most = top + height, math.log1p(max((max(pair) for pair in bins), default=0)) or 1.0
    step = width / max(1, len(bins))
    parts = axes(left, top, width, height, "score", "documents, log", ("0", "1"))
    for number, counts in enumerate(bins):
        low, high = number / len(bins), (number + 1) / len(bins)
        before, after = counts
        bars = [tag("title", f"{low:.0%} to {high:.0%}: {before:,} before, {after:,} after")]
        for side, (count, kind) in enumerate(((before, "held"), (after, "bar"))):
            tall = height * math.log1p(count) / most
            place = left + number * step + 2 + side * (step - 4) / 2
            bars.append(tag("rect", x=place, y=bottom - tall, width=(step - 4) / 2, height=tall, class_=kind))
        parts.append(tag("g", *bars))
    return svg(left + width + 12, bottom + 24, parts, "Scores before and after")
