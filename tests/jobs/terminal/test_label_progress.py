"""The panel and the line of progress, as people see them."""

import io
from collections.abc import Iterator
from dataclasses import asdict
from typing import cast

import pytest
from rich.console import Console

from jobs.terminal.label_progress import LabelProgress, duration, progress_line, short
from pipeline.runs.progress import Figures, Progress

AT_WORK = Figures(
    units=1234,
    units_total=2000,
    documents=12_300_000,
    documents_total=20_000_000,
    errors=12,
    taken_over=0,
    windows=13_000_000,
    tokens=5_600_000_000,
    tokens_total=9_030_000_000,
    tokens_per_second=790_000.4,
    tokens_per_second_now=812_000,
    share=0.62,
    seconds=7089,
    seconds_left=4344,
    padding_share=0.012,
    actors=8,
    busy_share=0.97,
    actor_hours=12.48,
    usd=31.2,
)
BEGINNING = Figures(
    **asdict(AT_WORK)
    | dict.fromkeys(("units", "documents", "errors", "windows", "tokens", "actors", "actor_hours"), 0)
    | dict.fromkeys(("units_total", "documents_total", "tokens_total", "share", "seconds_left", "busy_share", "usd"))
    | {"tokens_per_second": 0.0, "tokens_per_second_now": 0.0, "padding_share": 0.0, "seconds": 31.0}
)


class Still:
    """A progress that stands still."""

    def __init__(self, *figures: Figures) -> None:
        self._figures = figures

    def figures(self, table: int) -> Figures:
        return self._figures[table]


def panel(width: int, *tables: tuple[str, Figures]) -> Iterator[str]:
    progress = LabelProgress(cast(Progress, Still(*(figures for _, figures in tables))), [uri for uri, _ in tables])
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(progress.panel())
    yield from (line.rstrip() for line in file.getvalue().splitlines())


def test_the_panel():
    bar, *lines = panel(100, ("s3://tables/topics", AT_WORK))
    assert bar.endswith("62%  about 72 min left")
    assert lines == [
        "tokens  5.60 G of about 9.03 G tokens, 812,000 tokens/s now, 790,000 overall",
        "units   1,234 of 2,000 units; 12,300,000 of 20,000,000 documents; 12 errors",
        "actors  8 actors, 97% busy, 3% starved, padding 1.2%",
        "cost    $31.20 so far, 12.48 actor-hours",
    ]


def test_the_panel_of_several_tables_names_each_and_fits_a_phone_s_terminal():
    lines = list(panel(60, ("out/a", AT_WORK), ("out/[b]", BEGINNING)))
    assert all(len(line) <= 60 for line in lines)
    assert "out/a" in lines
    assert "out/[b]" in lines
    assert "31 s so far, no unit is done yet" in " ".join(" ".join(lines).split())


def test_the_line_of_a_log():
    assert progress_line(AT_WORK) == (
        "62% done; 5.60 G of about 9.03 G tokens; 812,000 tokens/s now, 790,000 overall; about 72 min left; 1,234 of "
        "2,000 units; 12,300,000 of 20,000,000 documents; 12 errors; 8 actors, 97% busy, 3% starved, padding 1.2%; "
        "$31.20 so far, 12.48 actor-hours"
    )
    assert progress_line(BEGINNING) == (
        "0 tokens; 0 tokens/s now, 0 overall; 31 s so far, no unit is done yet; 0 units; 0 documents; 0 errors; no "
        "actor has finished a unit yet"
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5940, "99 min"), (6000, "1 h 40 min"), (360_000, "100 h 00 min")],
)
def test_durations(seconds: float, said: str):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (45_123, "45.1 k"),
        (271_400, "271 k"),
        (999_600, "1.00 M"),
        (1_234_567, "1.23 M"),
        (5.6e9, "5.60 G"),
        (123e9, "123 G"),
    ],
)
def test_large_counts(count: float, said: str):
    assert short(count) == said
