"""JSON Lines: cut by bytes where lines can be found, read once wherever they are cut."""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from pipeline.corpus.slices import Bytes, Slice, Stream, WholeFile
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage
from tests.corpus.files import LARGE, json_line, jsonl, limited, put, read_units, rows_of, texts_of, units_of

LINE = '{"text": "a"}\n'


def test_json_lines_are_cut_by_bytes_and_streams_when_they_are_read(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl.gz", "c.csv", "d.txt"):
        put(tmp_path / name, b"x" * 100)
    units = units_of(tmp_path, 30)
    assert [unit.slice for unit in units] == [
        Bytes(0, 33), Bytes(33, 66), Bytes(66, 100), Stream(30), Stream(30), WholeFile()
    ]  # fmt: skip
    assert [unit.documents for unit in units] == [None] * 5 + [1]


@pytest.mark.parametrize(
    ("data", "slice_"),
    [
        (LINE * 10, Bytes),
        ("\ufeff" + LINE * 10, Bytes),
        ("[" + ",".join([LINE] * 10) + "]", Stream),
        ('{\n"text": "a"\n}\n' * 10, Stream),
        ((LINE * 10).encode("utf-16"), Stream),
        ((LINE * 10).encode("utf-32"), Stream),
        (gzip.compress(random.Random(0).randbytes(100)), Stream),
    ],
    ids=["lines", "a mark of UTF-8", "array", "objects over lines", "UTF-16", "UTF-32", "gzip"],
)
def test_only_lines_of_utf8_are_cut_by_bytes(tmp_path: Path, data: bytes | str, slice_: type[Slice]) -> None:
    units = units_of(put(tmp_path / "a.jsonl", data), 30)
    assert {type(unit.slice) for unit in units} == {slice_}
    assert (len(units) > 1) == (slice_ is Bytes)


def test_positions_are_rows_where_bytes_are_not_counted(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", ("\n" + LINE * 3).encode("utf-16"))
    assert [[row["position"] for row in rows_of(path, size)] for size in (30, 10**6)] == [[1, 2, 3]] * 2
    put(path, "[1, " + LINE + ", " + LINE + "]")
    assert [row["position"] for row in rows_of(path)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "data", "reads"),
    [
        ("a.jsonl", b"x" * 100, 1),
        ("a.jsonl", b"x" * 20, 0),
        ("a.jsonl.gz", b"x" * 100, 0),
        ("a.csv", b"id,text\n" + b"x" * 2**20, 1),
        ("a.csv", b"id,text," + b"x" * 2**17 + b"\n", 2),
        ("a.txt", b"x" * 100, 0),
    ],
    ids=["cut", "small", "compressed", "header", "wide header", "text"],
)
def test_planning_reads_first_bytes_only_where_they_are_asked_for(
    tmp_path: Path, name: str, data: bytes, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read_start = Storage.read_start

    def noted(storage: Storage, file: StoredFile, size: int) -> bytes:
        sizes.append(size)
        return read_start(storage, file, size)

    monkeypatch.setattr(Storage, "read_start", noted)
    units_of(put(tmp_path / name, data), 30)
    assert sizes == [2**16, 2**20][:reads]


def test_an_empty_json_lines_file_has_no_unit(tmp_path: Path) -> None:
    assert units_of(put(tmp_path / "a.jsonl", b"")) == []


@settings(max_examples=80, deadline=None)
@given(
    texts=st.lists(st.text(max_size=20) | st.just("long " * 40), max_size=8),
    separators=st.lists(st.sampled_from(["\n", "\r\n", "\n\n", "\r\n \r\n"]), min_size=1),
    ends=st.booleans(),
    text_bytes=st.integers(1, 300),
)
@example(["a", "b"], ["\n"], False, 14)  # the range ends where a line ends
def test_json_lines_are_read_once_wherever_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    separators: list[str],
    ends: bool,
    text_bytes: int,
) -> None:
    data, positions = b"", []
    for text, separator in zip(texts, itertools.cycle(separators), strict=False):
        positions.append(len(data))
        line = json.dumps({"text": text}, ensure_ascii=False) + separator
        data += line.encode()
    path = put(tmp_path_factory.getbasetemp() / "property.jsonl", data if ends else data.rstrip())
    found = rows_of(path, text_bytes)
    assert [row["text"] for row in found] == texts
    assert [row["position"] for row in found] == positions


def test_a_line_larger_than_many_units_is_read_by_the_first(tmp_path: Path) -> None:
    units = units_of(put(tmp_path / "a.jsonl", jsonl(["x" * 10_000, "y"])), 1000)
    read = [[row["text"][0] for row in read_units([unit])] for unit in units]
    assert read == [["x"], *[[]] * (len(units) - 2), ["y"]]


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        (b'{"text": "\xff"}', "invalid_utf8", "byte 10 of the line: invalid start byte"),
        (rb'{"text": "\ud800"}', "invalid_utf8", "at 0: surrogates not allowed"),
        (b'{"text": ]', "invalid_json", "Expecting value: line 1 column 10 (char 9)"),
        (b"[" * 100_000, "invalid_json", None),
        (b"9" * 5000, "invalid_json", None),
        (b'["text"]', "not_an_object", "expected a JSON object, found list"),
        (b"null", "not_an_object", "expected a JSON object, found NoneType"),
        (b'{"body": 1, "n": 2}', "no_column", "no column 'text'; the record has 'body', 'n'"),
        (rb'{"\ud800": 1}', "no_column", r"no column 'text'; the record has '\ud800'"),
        (b'{"text": 3}', "not_a_string", "column 'text': expected a string, found int"),
        (b'{"text": ["a"]}', "not_a_string", "column 'text': expected a string, found list"),
    ],
    ids=[
        "bytes", "surrogate", "cut", "deep", "huge number", "list", "null", "no column",
        "surrogate column", "number", "list of text",
    ],
)  # fmt: skip
def test_a_bad_json_line_costs_its_own_row_only(tmp_path: Path, line: bytes, reason: str, message: str | None) -> None:
    path = put(tmp_path / "a.jsonl", b"\n".join([json_line(text="a"), line, json_line(text="b")]))
    before, bad, after = rows_of(path)
    assert (before["text"], bad["text"], after["text"]) == ("a", None, "b")
    assert (bad["stage"], bad["reason"], bad["id"]) == ("read", reason, f"file://{path}#14")
    assert message is None or bad["message"] == message


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + jsonl(["a"]))
    put(tmp_path / "b.csv", b"\xef\xbb\xbftext\na\n")
    put(tmp_path / "c.txt", b"\xef\xbb\xbfa")
    assert texts_of(tmp_path) == ["a", "a", "a"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [({"id": None}, "null_id"), ({}, "no_column"), ({"id": "\ud800"}, "invalid_utf8")],
    ids=["null", "missing", "surrogate"],
)
def test_a_json_document_without_an_id_leaves_with_its_pointer(
    tmp_path: Path, record: dict[str, Any], reason: str
) -> None:
    path = put(tmp_path / "a.jsonl", json_line(text="a", **record))
    (row,) = rows_of(path, id_column="id")
    assert (row["id"], row["reason"], row["text"]) == (f"file://{path}#0", reason, None)


def test_a_null_text_is_a_document_without_text(tmp_path: Path) -> None:
    (row,) = rows_of(put(tmp_path / "a.jsonl", b'{"text": null}'))
    assert (row["text"], row["reason"]) == (None, None)


@pytest.mark.parametrize("text_bytes", [40, 300, 100_000])
def test_a_line_that_is_too_large_is_told_once_wherever_it_is_cut(tmp_path: Path, text_bytes: int) -> None:
    units = units_of(put(tmp_path / "a.jsonl", jsonl(["a", LARGE, "b", LARGE])), text_bytes)
    found = read_units([limited(unit, 100) for unit in units])
    assert [row["reason"] for row in found] == [None, "too_large", None, "too_large"]
