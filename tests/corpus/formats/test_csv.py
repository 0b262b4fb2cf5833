"""CSV: as Python's own module reads it; a bad row costs itself only."""

from pathlib import Path

import pytest

from pipeline.errors import CorpusError
from tests.corpus.files import LARGE, limited, put, read_units, rows_of, texts_of, units_of


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b'text\n"a\nb"\nc\n', ["a\nb", "c"]),
        (b'text\r\n"a\r\nb"\r\nc\r\n', ["a\r\nb", "c"]),
        (b'text\n"say ""a"""\n', ['say "a"']),
        (b"text\na\n\n\nb", ["a", "b"]),
        (b"\n\ntext\na\n", ["a"]),
        (b'text,n\n"",1\n', [""]),
        (b"text\n" + b"x" * 300_000, ["x" * 300_000]),
        (b"text\na\0b\n", ["a\0b"]),
    ],
    ids=["newline", "CRLF", "quotes", "blank", "blank first", "empty", "huge field", "NUL"],
)
def test_csv(tmp_path: Path, data: bytes, texts: list[str]) -> None:
    assert texts_of(put(tmp_path / "a.csv", data)) == texts


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        (b"1", "ragged_row", "expected 2 fields as in the header, found 1"),
        (b"1,b,c", "ragged_row", "expected 2 fields as in the header, found 3"),
        (b"1,b\xff", "invalid_utf8", "at 1: surrogates not allowed"),
        (b"\xff,b", "invalid_utf8", "column 'id' at 0: surrogates not allowed"),
    ],
    ids=["short", "long", "bytes", "bytes of the id"],
)
def test_a_bad_csv_row_costs_its_own_row_only(tmp_path: Path, row: bytes, reason: str, message: str) -> None:
    path = put(tmp_path / "a.csv", b"id,text\n0,a\n" + row + b"\n2,c\n")
    before, bad, after = rows_of(path, id_column="id")
    assert (before["text"], bad["text"], after["text"]) == ("a", None, "c")
    assert (bad["reason"], bad["message"], bad["position"]) == (reason, message, 1)


@pytest.mark.parametrize(
    ("data", "texts", "reasons"),
    [
        (b'text\n"a"b\nc\n', [None, "c"], ["invalid_csv", None]),
        (b'text\na\n"b\nc\n', ["a", None], [None, "invalid_csv"]),
        (b'"text\na\n', [None], ["damaged_file"]),
    ],
    ids=["quote", "open", "open header"],
)
def test_csv_that_can_not_be_split_leaves_as_far_as_it_goes(
    tmp_path: Path, data: bytes, texts: list[str | None], reasons: list[str | None]
) -> None:
    found = rows_of(put(tmp_path / "a.csv", data))
    assert ([row["text"] for row in found], [row["reason"] for row in found]) == (texts, reasons)


def test_a_csv_header_that_is_too_large_is_damage(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.csv", LARGE + "\na\n"))
    (row,) = read_units([limited(unit, 100)])
    assert row["reason"] == "damaged_file"
    assert "a row of more than 100 bytes" in row["message"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"id\ttext\n1\ta\n", r"a tab is between the columns \('id\\ttext'\); expected a comma"),
        ("a.csv", b"id;text\n1;a\n", "a semicolon is between the columns"),
        ("a.tsv", b"id,text\n1,a\n", "a comma is between the columns .*; expected a tab"),
    ],
)
def test_another_delimiter_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        units_of(put(tmp_path / name, data))


def test_tsv_is_csv_with_tabs(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", b'id\ttext\n1\t"a\tb ""c"""\n2\td, e\n3\tf\tg\n')
    assert [(row["text"], row["reason"]) for row in rows_of(path, id_column="id")] == [
        ('a\tb "c"', None),
        ("d, e", None),
        (None, "ragged_row"),
    ]
