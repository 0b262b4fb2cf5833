"""Where a stream is cut depends on its documents and on nothing else."""

from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline.corpus.parts import numbered, weight
from pipeline.corpus.units import DOCUMENT_BYTES

Row = dict[str, Any]


def row(text: str | None, id_: str = "") -> Row:
    return {"id": id_, "position": 0} | ({} if text is None else {"text": text})


def parts(rows: list[Row], text_bytes: int) -> list[list[Row]]:
    return [[row for _, row in together] for _, together in groupby(numbered(rows, text_bytes), lambda pair: pair[0])]  # fmt: skip


rows = st.lists(st.builds(row, st.none() | st.text(max_size=30) | st.just("x" * 2000)), max_size=30)


@given(rows, st.integers(1, 5000))
def test_parts_hold_every_document_once_and_in_order(rows: list[Row], text_bytes: int) -> None:
    found = list(numbered(rows, text_bytes))
    assert [row for _, row in found] == rows
    numbers = [number for number, _ in found]
    assert list(dict.fromkeys(numbers)) == list(range(len(set(numbers))))


@given(rows, st.integers(1, 5000))
def test_a_part_ends_with_the_document_that_fills_it(rows: list[Row], text_bytes: int) -> None:
    found = [[weight(row) for row in part] for part in parts(rows, text_bytes)]
    assert all(sum(part[:-1]) < text_bytes for part in found)
    assert all(sum(part) >= text_bytes for part in found[:-1])


@given(rows, st.integers(1, 5000), st.integers(0, 30))
def test_where_a_part_begins_depends_on_what_lies_before_only(rows: list[Row], text_bytes: int, stop: int) -> None:
    assert list(numbered(rows[:stop], text_bytes)) == list(numbered(rows, text_bytes))[:stop]


@pytest.mark.parametrize(
    ("found", "expected"),
    [(row("abc"), 3), (row("é字"), 5), (row(None), 0), (row("a", "id"), 3)],
    ids=["ascii", "bytes of UTF-8", "no text", "id"],
)
def test_a_document_weighs_its_text_and_its_id(found: Row, expected: int) -> None:
    assert weight(found) == DOCUMENT_BYTES + expected
