"""The page of a table's snapshots: whole, safe from what labels say, and every figure where it belongs."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.evaluation.history_report import LABELS_DRAWN, SnapshotFigures, histogram_quantile, history_report
from tests.evaluation.test_html_report import ATTACK, Page, elements, svgs

FIRST = SnapshotFigures(
    number=3,
    published="2026-01-03 02:00",
    checkpoint=ATTACK,
    keys=("scoring", "decision"),
    predictions=100,
    errors=4,
    unlabelled=10,
    changes=(104, 0, 0),
    is_first=True,
    labels={ATTACK: 60, "dog": 30},
    scores={ATTACK: [0] * 9 + [60], "dog": [0, 0, 0, 0, 0, 15, 15, 0, 0, 0]},
)


def night(number: int, **fields: Any) -> SnapshotFigures:
    return replace(FIRST, number=number, is_first=False, **({"changes": (1, 2, 3)} | fields))


def charts(html: str, title: str) -> list[ET.Element]:
    return [svg for svg in svgs(html) if svg.get("aria-label") == title]


def points(chart: ET.Element, name: str) -> list[list[float]]:
    return [[float(p.split(",")[1]) for p in e.attrib["points"].split()] for e in chart.iter(name)]


@pytest.mark.parametrize("nights", [1, 2, 60])
def test_the_page_is_whole_and_safe(nights: int):
    page = Page(history_report(ATTACK, [FIRST, *(night(n) for n in range(4, 3 + nights))], 1))
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {*page.names}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert ATTACK in page.text
    assert "Not drawn: 1 partial snapshot, of runs with --limit." in page.text


def test_what_changed_is_drawn_in_proportion_and_the_first_snapshot_is_no_change():
    html = history_report("t", [FIRST, night(4, changes=(10, 20, 30)), night(5, changes=None), night(6)], 0)
    (chart,) = charts(html, "Documents that changed")
    heights = {kind: [float(e.attrib["height"]) for e in elements(chart, "rect", kind)] for kind in KINDS}
    assert {kind: len(each) for kind, each in heights.items()} == dict.fromkeys(KINDS, 2)
    for kind, documents in zip(KINDS, ([10, 1], [20, 2], [30, 3]), strict=True):
        assert heights[kind] == pytest.approx([n * 170 / 60 for n in documents], abs=0.01)
    titles = ["".join(title.itertext()) for title in chart.iter("title")]
    assert [title.partition(": ")[2] for title in titles] == [
        "the first one",
        "10 added, 20 changed, 30 removed",
        "not known",
        "1 added, 2 changed, 3 removed",
    ]
    assert "Which documents changed is not known of snapshot 5." in Page(html).text


KINDS = ("added", "changed", "removed")


def test_nothing_is_drawn_across_snapshots_whose_scores_are_not_known():
    html = history_report("t", [replace(FIRST, scores={}), night(4), night(5, scores={}), night(6), night(7)], 0)
    assert "documents have their labels is not known of snapshots 3, 5." in Page(html).text
    first, second = charts(html, "Scores over snapshots")
    assert [len(line) for line in points(first, "polyline")] == [1, 2]
    (share,) = charts(html, "Share of dog")
    assert [len(line) for line in points(share, "polyline")] == [5]
    assert [len(area) for area in points(second, "polygon")] == [4, 4]


def test_a_dashed_line_stands_before_what_another_checkpoint_labelled():
    nights = [FIRST, night(4), night(5, keys=("other", "decision")), night(6, keys=("other", "decision"))]
    for chart in svgs(history_report("t", nights, 0)):
        (line,) = elements(chart, "line", "diagonal")
        left, width = 44, float(chart.attrib["width"]) - 44 - 14
        assert float(line.attrib["x1"]) == pytest.approx(left + width / 2)


def test_most_frequent_labels_are_drawn_and_the_largest_change_is_told():
    labels = {f"label {n}": n for n in range(LABELS_DRAWN + 5)}
    page = Page(history_report("t", [replace(FIRST, labels={}), night(4, labels=labels)], 0))
    assert "The 5 least frequent labels are not shown" in page.text
    assert "label 44: 0.00% → 44.00%" in page.text
    assert "+44.00" in page.text
    drawn = [value for name, value in page.attributes if name == "aria-label" and value and "Share" in value]
    assert drawn == [f"Share of label {n}" for n in range(LABELS_DRAWN + 4, 4, -1)]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any), st.floats(0.01, 0.99))
def test_a_quantile_is_that_of_documents_spread_evenly_in_their_bins(counts: list[int], part: float):
    each = 200  # documents for one, so that steps are small
    spread = [
        (bin_ + (n + 0.5) / (count * each)) / len(counts)
        for bin_, count in enumerate(counts)
        for n in range(count * each)
    ]
    ascending = np.sort(spread)
    found = histogram_quantile(counts, part)
    below, most = np.searchsorted(ascending, [found - 1e-9, found + 1e-9])
    assert below / len(spread) - 0.01 <= part <= most / len(spread) + 0.01
