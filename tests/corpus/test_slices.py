"""A unit's name is what it reads, and ranges cover all once."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline.corpus.slices import (
    Bytes,
    Part,
    Reading,
    RowGroups,
    Rows,
    Stream,
    Unit,
    Unreadable,
    WholeFile,
    even_ranges,
)
from tests.corpus.files import put, units_of


@pytest.mark.parametrize(
    ("total", "wanted", "expected"),
    [
        (0, 10, []),
        (1, 10, [(0, 1)]),
        (10, 10, [(0, 10)]),
        (14, 10, [(0, 14)]),
        (16, 10, [(0, 8), (8, 16)]),
        (10, 3, [(0, 3), (3, 6), (6, 10)]),
    ],
)
def test_ranges(total: int, wanted: int, expected: list[tuple[int, int]]) -> None:
    assert list(even_ranges(total, wanted)) == expected


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_ranges_cover_all_once_and_evenly(total: int, wanted: int) -> None:
    ranges = list(even_ranges(total, wanted))
    assert [i for start, stop in ranges for i in range(start, stop)] == list(range(total))
    sizes = {stop - start for start, stop in ranges}
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert all(0 < size < 2 * wanted for size in sizes)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    (unit,) = units_of(put(tmp_path / "a.jsonl", "{}\n"))
    return unit


def test_the_same_slice_of_the_same_file_has_the_same_id(tmp_path: Path, unit: Unit) -> None:
    os.utime(tmp_path, (0, 0))
    assert units_of(tmp_path)[0].id("key") == unit.id("key")
    assert len(unit.id("key")) == 32


def test_the_id_says_nothing_of_how_many_documents_there_are(unit: Unit) -> None:
    assert replace(unit, documents=7).id("key") == unit.id("key")


@pytest.mark.parametrize(
    "change",
    [
        {"slice": Bytes(0, 2)},
        {"slice": RowGroups(0, 3, 0)},
        {"slice": WholeFile()},
        {"slice": Stream(3)},
        {"slice": Part(0, 3)},
        {"slice": Part(1, 3)},
        {"slice": Part(0, 4)},
        {"reading": Reading(None, ("body",))},
        {"reading": Reading("id", ("text",))},
        {"reading": Reading(None, ("text",), max_document_bytes=1)},
        {"limit": 1},
        {"slice": Unreadable("damaged_file", "m", 0, 1)},
    ],
    ids=lambda change: str(*change.values()),
)
def test_another_reading_has_another_id(unit: Unit, change: dict[str, Any]) -> None:
    assert replace(unit, **change).id("key") != unit.id("key")


def test_rows_and_row_groups_of_the_same_numbers_differ(unit: Unit) -> None:
    a, b = replace(unit, slice=RowGroups(0, 3, 0)), replace(unit, slice=Rows(0, 3, 0, 0))
    assert a.id("key") != b.id("key")


@pytest.mark.parametrize("change", [{"uri": "file:///b.jsonl"}, {"version": "2"}, {"size": 4}])
def test_another_file_has_another_id(unit: Unit, change: dict[str, Any]) -> None:
    stored = replace(unit.file.stored, **change)
    assert replace(unit, file=replace(unit.file, stored=stored)).id("key") != unit.id("key")


def test_another_scoring_key_has_another_id(unit: Unit) -> None:
    assert unit.id("key") != unit.id("other")
