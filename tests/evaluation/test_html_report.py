"""The report: whole, self-contained, and safe from what labels say. How it looks was judged by eye."""

import itertools
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from pipeline.evaluation.fit import fit_decision
from pipeline.evaluation.html_page import Heading
from pipeline.evaluation.html_report import classification_report, regression_report
from pipeline.evaluation.measure import evaluate_classification
from pipeline.evaluation.metrics import measure_regression
from pipeline.evaluation.scored_documents import ScoredDocuments
from pipeline.tasks.classification import Classification
from pipeline.terms import ProblemType
from tests.evaluation.data import examples, sampled

ATTACK = """<script>alert("1")</script>' onload='x"""
HEADING = Heading(ATTACK, ATTACK, [ATTACK], {ATTACK: ATTACK})


class Page(HTMLParser):
    """Elements that are open at the end, all names, all attributes and all text."""

    VOID = ("meta", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def labels(count: int) -> tuple[str, ...]:
    return (ATTACK, *(f"label {i}" for i in range(1, count)))


def report(problem_type: ProblemType, count: int, found: ScoredDocuments | None = None) -> str:
    found = found or sampled(problem_type, 60 * count, count, hotter=3)
    task = fit_decision(Classification(problem_type, labels(count)), found).task
    return classification_report(HEADING, evaluate_classification(task, found))


def regression() -> str:
    found = sampled("multi_label", 50, 1)
    return regression_report(HEADING, measure_regression(found), found)


def svgs(html: str) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def elements(svg: ET.Element, name: str, kind: str) -> list[ET.Element]:
    return [e for e in svg.iter(name) if kind in (e.get("class") or "").split()]


PAGES = {
    "single": lambda: report("single_label", 3),
    "multi": lambda: report("multi_label", 5),
    "one output": lambda: report("multi_label", 1),
    "regression": regression,
}


@pytest.mark.parametrize("page", PAGES)
def test_it_is_one_whole_file_that_asks_for_nothing(page: str):
    html = PAGES[page]()
    parsed = Page(html)
    assert parsed.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.names)
    assert not {"src", "href", "action"} & {name for name, _ in parsed.attributes}
    assert not re.search(r"https?:|url\(|@import", html)


@pytest.mark.parametrize("page", PAGES)
def test_no_label_is_markup(page: str):
    html = PAGES[page]()
    parsed = Page(html)
    assert "<script" not in html
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert ATTACK in parsed.text


@pytest.mark.parametrize("count", [2, 10, 40])
def test_the_matrix_shows_every_label_and_count(count: int):
    found = sampled("single_label", 30 * count, count)
    matrix = svgs(report("single_label", count, found))[0]
    assert len(elements(matrix, "text", "name")) == 2 * count
    squares = [e for kind in ("right", "wrong", "empty") for e in elements(matrix, "rect", kind)]
    assert len(squares) == count * count
    shown = sum(int(e.text or 0) for e in elements(matrix, "text", "count"))
    assert shown == 30 * count


def test_more_labels_than_a_page_can_show_are_told():
    html = report("single_label", 43, sampled("single_label", 900, 43))
    assert len(elements(svgs(html)[0], "text", "name")) == 80
    assert "The 3 least frequent labels are not shown" in html


def test_the_area_under_a_curve_is_the_average_precision():
    found = sampled("multi_label", 150, 2, seed=3)
    task = Classification("multi_label", ("a", "b"))
    html = classification_report(HEADING, evaluate_classification(task, found))
    curves = [svg for svg in svgs(html) if elements(svg, "polyline", "curve")]
    areas = sorted(area(elements(svg, "polyline", "curve")[0].get("points") or "") for svg in curves[1:])
    expected = sorted(average_precision_score(found.truth_NL[:, i], found.logits_NL[:, i]) for i in range(2))
    assert areas == pytest.approx(expected, abs=0.002)  # coordinates have two decimals


def area(points: str) -> float:
    """Below the steps, as a share of the chart's 180 by 130, whose lower end is at 138."""
    xy = [tuple(map(float, point.split(","))) for point in points.split()]
    return sum((b[0] - a[0]) * (138 - b[1]) for a, b in itertools.pairwise(xy)) / (180 * 130)


def test_both_reliability_diagrams_are_there_if_a_temperature_was_fitted():
    html = report("single_label", 3)
    assert html.count('aria-label="Reliability diagram"') == 2
    plain = Classification("single_label", labels(3))
    html = classification_report(HEADING, evaluate_classification(plain, sampled("single_label", 60, 3)))
    assert html.count('aria-label="Reliability diagram"') == 1


def test_equal_values_are_no_trouble():
    same = np.ones((4, 1))
    found = examples(same, same)
    assert Page(regression_report(HEADING, measure_regression(found), found)).open == []
