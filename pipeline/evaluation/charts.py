"""Charts as inline SVG. Colours and fonts are the report's: elements only carry classes of its style sheet.

Labels are the corpus's: every text goes through Markup, which escapes it.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from pipeline.evaluation.calibration import Bin
from pipeline.evaluation.measure import Curve
from pipeline.evaluation.metrics import Confusion

MATRIX_LABELS = 40  # that a page can show
CELLS = ((6, 72), (12, 48), (20, 36), (math.inf, 26))  # rows up to which a cell is so large
_NAME_LENGTH = 24
LETTER, TURN = 6.6, 42  # width of a letter, and the slant of columns' names in degrees
NO_LABEL = "no label"


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """Writes one element; `class_` is the attribute class, and `_` in other names is `-`."""
    pairs = Markup("").join(
        Markup(' {}="{}"').format(key.strip("_").replace("_", "-"), _short(value)) for key, value in attributes.items()
    )
    return Markup("<{}{}>{}</{}>").format(name, pairs, Markup("").join(children), name)


def confusion_matrix(
    cells: Sequence[Confusion],
    labels: Sequence[str],
    support: Mapping[str | None, int],
    between: str = "given",
) -> Markup:
    """Draws what documents get (columns) over what they have (rows).

    Args:
        cells: how many documents each pair has; those of other labels are left out.
        labels: in the order to show.
        support: documents that have each label, of which a cell shows its share.
        between: what a cell's tooltip says between the two labels.
    """
    counts = {(cell.true, cell.given): cell.documents for cell in cells}
    rows: list[str | None] = list(labels)
    columns: list[str | None] = list(labels)
    if any((None, given) in counts for given in [*labels, None]):
        rows.append(None)
    if any((true, None) in counts for true in rows):
        columns.append(None)
    size = next(cell for most, cell in CELLS if len(rows) <= most)
    longest = LETTER * max(len(_name(label)) for label in {*rows, *columns})
    left, top = 12 + longest, 24 + longest * math.sin(math.radians(TURN))
    parts = [
        *(_turned(_name(label), left + (i + 0.5) * size, top - 10) for i, label in enumerate(columns)),
        *(_named(_name(label), left - 10, top + (i + 0.5) * size, "end") for i, label in enumerate(rows)),
    ]
    for i, true in enumerate(rows):
        for j, given in enumerate(columns):
            count = counts.get((true, given), 0)
            place = (left + j * size, top + i * size)
            parts.append(_cell(true, given, count, support.get(true, 0), place, size, between))
    width, height = left + len(columns) * size + longest * 0.7, top + len(rows) * size + 8
    return svg(width, height, parts, "Confusion matrix", class_="large" if width > 700 else "small")


def _cell(
    true: str | None,
    given: str | None,
    count: int,
    support: int,
    place: tuple[float, float],
    size: int,
    between: str,
) -> Markup:
    x, y = place
    share = count / support if support else 0.0
    kind = "right" if true == given else "wrong"
    square = tag(
        "rect",
        x=x + 1,
        y=y + 1,
        width=size - 2,
        height=size - 2,
        rx=min(5, size / 8),
        class_=kind if count else "empty",
        fill_opacity=0.12 + 0.88 * share if count else 1,
    )
    if not count:
        return square
    tooltip = f"{_name(true, 80)}, {between} {_name(given, 80)}: {count:,} of {support:,} documents ({share:.0%})"
    number = tag(
        "text",
        _compact(count),
        x=x + size / 2,
        y=y + size / 2,
        class_="count strong" if share > 0.55 else "count",
        style=f"font-size:{max(9, min(15, size // 3))}px",
    )
    return tag("g", tag("title", tooltip), square, number)


def reliability(bins: Sequence[Bin], error: float) -> Markup:
    """Draws what came true over the probability that was given, and below it how many there were, on a log scale."""
    left, top, side, low = 46, 12, 300, 56
    bottom = top + side

    def x(value: float) -> float:
        return left + value * side

    def y(value: float) -> float:
        return bottom - value * side

    parts = _axes(left, top, side, side, "probability", "share that came true")
    most = math.log1p(max(bin_.count for bin_ in bins))
    for bin_ in bins:
        start, width = x(bin_.low) + 1.5, (bin_.high - bin_.low) * side - 3
        under, over = sorted((bin_.mean, bin_.true))
        tall = max(1.5, low * math.log1p(bin_.count) / most)
        tooltip = f"{bin_.low:.0%} to {bin_.high:.0%}: {bin_.count:,}, mean {bin_.mean:.1%}, came true {bin_.true:.1%}"
        parts.append(
            tag(
                "g",
                tag("title", tooltip),
                tag("rect", x=start, y=y(bin_.true), width=width, height=bin_.true * side, class_="bar"),
                tag("rect", x=start, y=y(over), width=width, height=(over - under) * side, class_="gap"),
                tag("rect", x=start, y=bottom + 40 + low - tall, width=width, height=tall, class_="held"),
            )
        )
    parts += [
        tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="diagonal"),
        tag("line", x1=x(0), y1=bottom + 40 + low, x2=x(1), y2=bottom + 40 + low, class_="axis"),
        _text("how many, log", left, bottom + 40 + low + 16, "start"),
        tag("text", f"error {error:.3f}", x=left + 10, y=top + 20, class_="callout"),
    ]
    return svg(left + side + 12, bottom + low + 64, parts, "Reliability diagram")


def precision_recall(curve: Curve, at: tuple[float, float] | None) -> Markup:
    """Draws precision over recall, with a point `at` the recall and the precision that are decided on."""
    left, top, width, height = 30, 8, 180, 130
    bottom = top + height
    points = [
        (left + recall * width, bottom - precision * height)
        for recall, precision in zip(curve.recall, curve.precision, strict=True)
    ]
    line = " ".join(f"{_short(x)},{_short(y)}" for x, y in _steps(points))
    last = points[-1][0]
    parts = [
        *_axes(left, top, width, height, None, None),
        tag("polygon", points=f"{left},{bottom} {line} {_short(last)},{bottom}", class_="area"),
        tag("polyline", points=line, class_="curve"),
    ]
    if at is not None:
        recall, precision = at
        tooltip = f"decided on: recall {recall:.3f}, precision {precision:.3f}"
        place = {"cx": left + recall * width, "cy": bottom - precision * height}
        parts.append(tag("circle", tag("title", tooltip), r=4.5, class_="point", **place))
    return svg(left + width + 10, bottom + 22, parts, "Precision over recall")


def scatter(truth: Sequence[float], values: Sequence[float]) -> Markup:
    """Draws a regression's values over the truth, on equal axes."""
    left, top, side = 64, 12, 380
    low, high = min(*truth, *values), max(*truth, *values)
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return (value - low) / span * side

    dots = [
        tag("circle", cx=left + place(t), cy=top + side - place(v), r=3, class_="dot")
        for t, v in zip(truth, values, strict=True)
    ]
    ends = f"{low:.4g}", f"{high:.4g}"
    parts = [
        *_axes(left, top, side, side, "truth", "value", ends),
        tag("line", x1=left, y1=top + side, x2=left + side, y2=top, class_="diagonal"),
        *dots,
    ]
    return svg(left + side + 20, top + side + 44, parts, "Values over the truth")


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Between two recalls precision is that of the higher one: average precision is the area under these steps."""
    steps = [(points[0][0], points[min(1, len(points) - 1)][1])]
    for (x, _), (next_x, next_y) in itertools.pairwise(points):
        steps += [(x, next_y), (next_x, next_y)]
    return steps


def _axes(
    left: float,
    top: float,
    width: float,
    height: float,
    across: str | None,
    up: str | None,
    ends: tuple[str, str] = ("0", "1"),
) -> list[Markup]:
    bottom = top + height
    grid = [
        tag(
            "path",
            d=f"M{left} {bottom - height * part}h{width}M{left + width * part} {bottom}v{-height}",
            class_="grid",
        )
        for part in (0.25, 0.5, 0.75, 1)
    ]
    parts = [
        *grid,
        tag("path", d=f"M{left} {top}V{bottom}H{left + width}", class_="axis"),
        _text(ends[0], left, bottom + 15),
        _text(ends[1], left + width, bottom + 15),
        _text(ends[0], left - 6, bottom, "end"),
        _text(ends[1], left - 6, top + 4, "end"),
    ]
    if across:
        parts.append(_text(across, left + width / 2, bottom + 15))
    if up:
        x, y = left - 14, top + height / 2
        parts.append(_text(up, x, y, transform=f"rotate(-90 {x} {y})"))
    return parts


def _text(text: str, x: float, y: float, anchor: str = "middle", **attributes: str) -> Markup:
    return tag("text", text, x=x, y=y, text_anchor=anchor, class_="tick", **attributes)


def _named(name: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", name, x=x, y=y, text_anchor=anchor, class_="name")


def _turned(name: str, x: float, y: float) -> Markup:
    place = f"rotate(-{TURN} {_short(x)} {_short(y)})"
    return tag("text", name, x=x, y=y, class_="name", text_anchor="start", transform=place)


def svg(width: float, height: float, parts: Sequence[str], title: str, **attributes: str) -> Markup:
    """Writes a whole chart, as wide and high as it likes to be; `title` is for who can't see it."""
    box = f"0 0 {_short(width)} {_short(height)}"
    return tag("svg", *parts, role="img", aria_label=title, viewBox=box, width=width, height=height, **attributes)


def _name(label: str | None, longest: int = _NAME_LENGTH) -> str:
    name = NO_LABEL if label is None else label
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _compact(count: int) -> str:
    return f"{count}" if count < 10_000 else f"{count / 1000:.0f}k"


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
