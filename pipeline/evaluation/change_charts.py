"""Charts of what has changed between two snapshots, as inline SVG: what was before is grey, what is now is blue."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from pipeline.evaluation.charts import svg, tag

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
    """Draws how many documents have a score in each bin from 0 to 1, before beside after.

    The height is the number's logarithm.
    """
    left, top, width, height = 12, 16, 320, 180
    largest = max(max(pair) for pair in bins)
    bottom, most, step = top + height, math.log1p(largest) or 1.0, width / len(bins)
    ends: list[tuple[str, float, float, str]] = [
        (f"{largest:,} documents, on a log scale", left, top - 5, "start"),
        ("0", left, bottom + 15, "start"),
    ]
    ends += [("score", left + width / 2, bottom + 15, "middle"), ("1", left + width, bottom + 15, "end")]
    parts = [tag("text", text, x=x, y=y, text_anchor=anchor, class_="tick") for text, x, y, anchor in ends]
    parts.append(tag("path", d=f"M{left} {top}V{bottom}H{left + width}", class_="axis"))
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
