"""Erased ids in reports and records, whatever characters they have: gone, and everything else as it was."""

import html
import json

import pytest
from hypothesis import given, strategies as st

from pipeline.tables.erased_ids import SALT_BYTES, ErasedIds
from pipeline.tables.erased_records import erased_ids_told, without_erased_ids

SALT = b"s" * SALT_BYTES
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def erased(*ids: str) -> ErasedIds:
    return ErasedIds.of(ids, SALT)


def page(*texts: str) -> bytes:
    cells = "".join(f"<td><bdi>{html.escape(text)}</bdi></td>" for text in texts)
    return f"<!doctype html><style>.{texts[0]} > b {{}}</style><body><table>{cells}</table></body>".encode()


@given(gone=IDS, kept=IDS)
def test_an_id_goes_and_others_stay(gone: str, kept: str):
    record = json.dumps({"run_id": kept, "message": f"no text in {gone!r} at 3, it can't be", "of": [gone, {"n": 1.5}]})
    is_same = gone in kept.split() or kept == gone
    for data in (page("1", gone), record.encode()):
        assert gone in erased_ids_told(data, erased(gone))
        rewritten = without_erased_ids(data, erased(gone))
        assert erased_ids_told(rewritten, erased(gone)) <= ({gone} if gone in "(erased)" or is_same else set())
    tree = json.loads(without_erased_ids(record.encode(), erased(gone)))
    assert (tree["message"], tree["of"]) == ("(erased)", ["(erased)", {"n": 1.5}])
    assert is_same or tree["run_id"] == kept or gone in kept


def test_what_tells_of_none_stays_as_it_was():
    data = page("rust-1", "a <b> & 'c'", "rust-12")
    assert without_erased_ids(data, erased("rust", "<b", "1")) == data
    assert erased_ids_told(data, erased("rust", "<b", "1")) == set()


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"<body>", b'"x"'])
def test_what_is_no_record_is_no_trouble(data: bytes):
    assert erased_ids_told(data, erased("x")) == ({"x"} if data == b'"x"' else set())
    assert isinstance(without_erased_ids(data, erased("x")), bytes)


def test_a_style_sheet_is_nobody_s_id():
    assert b"<style>.a > b {}</style>" in without_erased_ids(page("a", "b"), erased("b {}", "b"))
