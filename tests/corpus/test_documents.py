"""Every document of every format arrives once, where it was; what can't be read costs its own row only."""

import gzip
import hashlib
import io
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings, strategies as st

from pipeline.corpus.readers import FIRST_RECORDS, first_records_problem, rows
from pipeline.errors import SourceChangedError, StorageError
from pipeline.schema import DOCUMENTS
from tests.corpus.files import STORAGE, problems_of, put, read, read_units, rows_of, texts_of, units_of

TEXTS = ["plain", "two\nlines", "日本語 ﬁ 👩‍👩‍👧", "", "quoted \"'\t,", "x" * 5000]


def jsonl(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def csv_of(texts: list[str]) -> bytes:
    quoted = [text.replace('"', '""') for text in texts]
    return "".join(["n,text\n", *(f'{i},"{text}"\n' for i, text in enumerate(quoted))]).encode()


def parquet_of(texts: list[Any], type_: pa.DataType | None = None) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(texts, type_)}), file, row_group_size=4)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.parquet", parquet_of(TEXTS)),
        ("a.jsonl", jsonl(TEXTS)),
        ("a.jsonl.gz", gzip.compress(jsonl(TEXTS))),
        ("a.jsonl.gz", gzip.compress(jsonl(TEXTS[:2])) + gzip.compress(jsonl(TEXTS[2:]))),
        ("a.jsonl.zst", zstandard.compress(jsonl(TEXTS))),
        ("a.jsonl.zst", zstandard.compress(jsonl(TEXTS[:2])) + zstandard.compress(jsonl(TEXTS[2:]))),
        ("a.csv", csv_of(TEXTS)),
        ("a.csv.gz", gzip.compress(csv_of(TEXTS))),
        ("a.csv.zst", zstandard.compress(csv_of(TEXTS))),
    ],
    ids=["parquet", "jsonl", "gz", "gz members", "zst", "zst frames", "csv", "csv gz", "csv zst"],
)  # fmt: skip
@pytest.mark.parametrize("text_bytes", [100, 16_000_000])
def test_what_was_written_is_read(tmp_path: Path, name: str, data: bytes, text_bytes: int) -> None:
    assert texts_of(put(tmp_path / name, data), text_bytes) == TEXTS


@pytest.mark.parametrize("ending", ["txt", "md", "txt.gz", "txt.zst"])
def test_a_text_file_is_one_document(tmp_path: Path, ending: str) -> None:
    packed: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstandard.compress}
    data = packed.get(ending[4:], bytes)("first\n\nlast é\n".encode())
    path = put(tmp_path / f"a.{ending}", data)
    assert rows_of(path) == [
        dict.fromkeys(DOCUMENTS.names) | {"id": f"file://{path}", "position": 0, "text": "first\n\nlast é\n"}
    ]


def test_documents_have_their_schema(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.jsonl", jsonl(["a"])))
    assert read(STORAGE, unit).schema.equals(DOCUMENTS)


@pytest.mark.parametrize(
    ("name", "data", "positions"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"text": "b"}\n', [0, 15]),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n\n{"text": "b"}\n'), [0, 2]),
        ("a.csv", b"text\na\nb\n", [0, 1]),
        ("a.parquet", parquet_of(["a", "b"]), [0, 1]),
    ],
    ids=["byte of the line", "line", "row", "row of the file"],
)
def test_the_position_points_into_the_file(tmp_path: Path, name: str, data: bytes, positions: list[int]) -> None:
    path = put(tmp_path / name, data)
    assert [row["position"] for row in rows_of(path)] == positions
    assert [row["id"] for row in rows_of(path)] == [f"file://{path}#{at}" for at in positions]


@pytest.mark.parametrize(
    ("name", "data", "ids"),
    [
        ("a.jsonl", b'{"id": "x", "text": "a"}\n{"id": 7, "text": "b"}\n', ["x", "7"]),
        ("a.csv", "text,id\na,x\nb,ü\n".encode(), ["x", "ü"]),
    ],
    ids=["jsonl", "csv"],
)
def test_ids_come_from_their_column(tmp_path: Path, name: str, data: bytes, ids: list[str]) -> None:
    found = rows_of(put(tmp_path / name, data), id_column="id")
    assert [row["id"] for row in found] == ids


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (pa.array([7, 8], pa.int64()), ["7", "8"]),
        (pa.array(["x", "ü"]), ["x", "ü"]),
        (pa.array(["x", "ü"], pa.large_string()), ["x", "ü"]),
        (pa.array(["x", "x"]).dictionary_encode(), ["x", "x"]),
        (pa.array([b"x", b"y"]), ["x", "y"]),
    ],
    ids=["integer", "string", "large", "dictionary", "binary"],
)
def test_parquet_ids_of_any_type_become_strings(tmp_path: Path, values: pa.Array, ids: list[str]) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "id": values}), tmp_path / "a.parquet")
    assert [row["id"] for row in rows_of(tmp_path / "a.parquet", id_column="id")] == ids


@pytest.mark.parametrize(
    "type_",
    [
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
        pa.binary_view(), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_string()),
    ],
    ids=str,
)  # fmt: skip
def test_parquet_texts_of_any_string_type_are_read(tmp_path: Path, type_: pa.DataType) -> None:
    values = pa.array(["a", None, "é"]).cast(pa.binary()) if "binary" in str(type_) else pa.array(["a", None, "é"])  # fmt: skip
    column = values.dictionary_encode().cast(type_) if "dictionary" in str(type_) else values.cast(type_)  # fmt: skip
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert texts_of(tmp_path / "a.parquet") == ["a", None, "é"]


def test_a_parquet_column_of_nulls_is_read(tmp_path: Path) -> None:
    assert texts_of(put(tmp_path / "a.parquet", parquet_of([None, None], pa.null()))) == [None] * 2


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


def json_line(**record: Any) -> bytes:
    return json.dumps(record).encode()


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


def broken_strings(values: list[bytes]) -> pa.Array:
    """A string column that holds these bytes, valid UTF-8 or not, as other writers leave them."""
    binary = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())


@pytest.mark.parametrize("dictionary", [True, False])
def test_invalid_utf8_in_parquet_costs_its_own_row_only(tmp_path: Path, dictionary: bool) -> None:
    table = pa.table({"text": broken_strings([b"a", b"b\xff", b"c"]), "id": ["1", "2", "3"]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=dictionary)
    found = rows_of(tmp_path / "a.parquet", id_column="id")
    assert [row["text"] for row in found] == ["a", None, "c"]
    assert (found[1]["id"], found[1]["message"]) == ("2", "at 1: invalid start byte")


def test_an_id_that_is_no_utf8_costs_its_own_row_only(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "id": broken_strings([b"\xff", b"x"])})
    pq.write_table(table, tmp_path / "a.parquet")
    bad, good = rows_of(tmp_path / "a.parquet", id_column="id")
    assert (bad["reason"], bad["message"]) == ("invalid_utf8", "column 'id' at 0: invalid start byte")  # fmt: skip
    assert (good["id"], good["text"]) == ("x", "b")


def test_a_null_parquet_id_costs_its_own_row_only(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "id": [1, None]}), tmp_path / "a.parquet")
    assert problems_of(tmp_path / "a.parquet", id_column="id") == [None, "null_id"]


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


GZIPPED, ZSTANDARD = gzip.compress(jsonl(TEXTS)), zstandard.compress(jsonl(TEXTS))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.gz", b"no gzip"),
        ("a.jsonl.gz", GZIPPED[:-5]),
        ("a.jsonl.gz", GZIPPED[:20] + b"\xff\xff" + GZIPPED[22:]),
        ("a.jsonl.gz", GZIPPED + b"junk"),
        ("a.jsonl.zst", b"no zstandard"),
        ("a.jsonl.zst", ZSTANDARD[:-5]),
        ("a.txt.zst", ZSTANDARD + b"junk"),
    ],
    ids=["no gz", "cut gz", "broken gz", "more after gz", "no zst", "cut zst", "more after zst"],
)
def test_damaged_compression_leaves_as_one_row(tmp_path: Path, name: str, data: bytes) -> None:
    path = put(tmp_path / name, data)
    *whole, last = rows_of(path)
    assert [row["text"] for row in whole] == TEXTS[: len(whole)]
    assert (last["stage"], last["reason"], last["position"]) == ("read", "damaged_file", len(whole))
    assert re.match(rf"from here on: file://{path}: not readable as (gzip|zstd) \(", last["message"])
    assert last["message"].endswith("; repair it or leave it out of corpus.uris")


LINES = [f"{number} " + "abcdefghij" * (number % 50) for number in range(20_000)]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_what_lies_before_the_damage_is_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    data = compress(jsonl([random_text(line) for line in LINES]))
    name = "a.jsonl.gz" if compress is gzip.compress else "a.jsonl.zst"
    *whole, last = rows_of(put(tmp_path / name, data[: len(data) // 2]))
    assert 5_000 < len(whole) < 15_000
    assert [row["text"] for row in whole] == [random_text(line) for line in LINES[: len(whole)]]
    assert (last["reason"], last["position"]) == ("damaged_file", len(whole))


def random_text(line: str) -> str:
    """Does not compress, so that half of the file is about half of its lines."""
    return hashlib.sha256(line.encode()).hexdigest()


def test_damage_that_is_not_there_again_is_a_matter_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "a.jsonl.gz", GZIPPED)
    (unit,) = units_of(path)
    (tmp_path / "cut.gz").write_bytes(GZIPPED[:-5])
    opened = iter([tmp_path / "cut.gz", path])
    monkeypatch.setattr("gzip.open", lambda file: gzip.GzipFile(next(opened)))
    with pytest.raises(StorageError, match=r"a\.jsonl\.gz: damaged when read once, and not .* run again"):
        read(STORAGE, unit)


GROUPS = [f"text {number}" for number in range(12)]


def damaged_parquet(path: Path, row_group: int, **options: Any) -> Path:
    """Row groups of four rows; the bytes of one's only page are not what was written."""
    pq.write_table(
        pa.table({"text": GROUPS}),
        path,
        row_group_size=4,
        use_dictionary=False,
        compression="none",
        **options,
    )
    column = pq.read_metadata(path).row_group(row_group).column(0)
    data = bytearray(path.read_bytes())
    if options:  # one letter, which only a checksum tells
        end = column.data_page_offset + column.total_compressed_size
        at = data.rindex(b"text", column.data_page_offset, end)  # before it lie the statistics
        data[at] ^= 1
    else:
        data[column.data_page_offset : column.data_page_offset + 20] = b"\xff" * 20
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("options", [{}, {"write_page_checksum": True}], ids=["header", "checksum"])
@pytest.mark.parametrize("row_group", [0, 1, 2])
@pytest.mark.parametrize("text_bytes", [1, 16_000_000], ids=["a unit each", "one unit"])
def test_a_damaged_parquet_page_costs_its_row_group_only(
    tmp_path: Path, row_group: int, text_bytes: int, options: dict[str, Any]
) -> None:
    path = damaged_parquet(tmp_path / "a.parquet", row_group, **options)
    found = rows_of(path, text_bytes)
    lost = range(4 * row_group, 4 * row_group + 4)
    assert [row["position"] for row in found] == list(range(12))
    assert [row["text"] for row in found] == [None if i in lost else GROUPS[i] for i in range(12)]
    assert {found[i]["reason"] for i in lost} == {"damaged_file"}
    assert found[lost[0]]["id"] == f"file://{path}#{lost[0]}"
    assert "a.parquet: not readable as parquet (" in found[lost[0]]["message"]


@pytest.mark.parametrize("limit", [3, 6])
def test_a_limit_counts_the_rows_of_a_damaged_page(tmp_path: Path, limit: int) -> None:
    (unit,) = units_of(damaged_parquet(tmp_path / "a.parquet", 1))
    assert len(read_units([replace(unit, limit=limit)])) == limit


def test_units_of_a_damaged_row_group_have_every_row(tmp_path: Path) -> None:
    texts = [f"{i:05}" * 20 for i in range(5000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=5000, use_dictionary=False, compression="none", data_page_size=10_000)  # fmt: skip
    data = path.read_bytes()
    at = data.index(texts[3000].encode())
    path.write_bytes(data[:at] + b"\xff" * 11_000 + data[at + 11_000 :])
    units = units_of(path, 30_000)
    found = read_units(units)
    assert [len(read_units([unit])) for unit in units] == [unit.documents for unit in units]
    whole = [row for row in found if row["text"] is not None and "\ufffd" not in row["text"]]
    assert [row["text"] for row in whole] == [texts[row["position"]] for row in whole]
    assert 2800 < len(whole) <= 3000
    assert {row["reason"] for row in found if row["position"] > 3100} == {"damaged_file"}


def test_parquet_of_a_kind_that_arrow_does_not_read_leaves_with_its_rows(tmp_path: Path) -> None:
    """LZO is in the format, and no build of Arrow has it."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": GROUPS}), path, compression="snappy", use_dictionary=False)
    footer = path.read_bytes()
    codec = footer.rindex(b"\x15\x02\x16")  # thrift: codec SNAPPY, then the number of values
    path.write_bytes(footer[: codec + 1] + b"\x06" + footer[codec + 2 :])
    assert pq.read_metadata(path).row_group(0).column(0).compression == "LZO"
    assert problems_of(path) == ["damaged_file"] * 12


LARGE = "x" * 1000


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", jsonl(["a", LARGE, "b"])),
        ("a.jsonl.gz", gzip.compress(jsonl(["a", LARGE, "b"]))),
        ("a.jsonl.zst", zstandard.compress(jsonl(["a", LARGE, "b"]))),
        ("a.csv", csv_of(["a", LARGE, "b"])),
        ("a.csv", csv_of(["a", "x\n" * 500, "b"])),
        ("a.csv", b"text\na\n" + LARGE.encode() + b"\nb\n"),
        ("a.parquet", parquet_of(["a", LARGE, "b"])),
    ],
    ids=["jsonl", "gz", "zst", "csv", "csv of many lines", "csv without quotes", "parquet"],
)
def test_a_document_that_is_too_large_costs_itself_only(tmp_path: Path, name: str, data: bytes) -> None:
    (unit,) = units_of(put(tmp_path / name, data))
    before, large, after = read_units([replace(unit, max_document_bytes=100)])
    assert (before["text"], large["text"], after["text"]) == ("a", None, "b")
    assert (large["stage"], large["reason"]) == ("read", "too_large")
    assert large["message"] == "expected at most 100 bytes; split the document, or allow more"
    (same,) = units_of(tmp_path / name)
    assert read_units([same])[2] == after  # its position too


@pytest.mark.parametrize("ending", ["txt", "txt.zst"])
def test_a_text_file_that_is_too_large_leaves_with_its_uri(tmp_path: Path, ending: str) -> None:
    data = LARGE.encode()
    path = put(tmp_path / f"a.{ending}", zstandard.compress(data) if "zst" in ending else data)
    (unit,) = units_of(path)
    (row,) = read_units([replace(unit, max_document_bytes=100)])
    assert (row["id"], row["reason"]) == (f"file://{path}", "too_large")
    assert [row["text"] for row in read_units([replace(unit, max_document_bytes=1000)])] == [LARGE]


def test_a_csv_header_that_is_too_large_is_damage(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.csv", LARGE + "\na\n"))
    (row,) = read_units([replace(unit, max_document_bytes=100)])
    assert row["reason"] == "damaged_file"
    assert "a row of more than 100 bytes" in row["message"]


@pytest.mark.parametrize("text_bytes", [40, 300, 100_000])
def test_a_line_that_is_too_large_is_told_once_wherever_it_is_cut(tmp_path: Path, text_bytes: int) -> None:
    units = units_of(put(tmp_path / "a.jsonl", jsonl(["a", LARGE, "b", LARGE])), text_bytes)
    found = read_units([replace(unit, max_document_bytes=100) for unit in units])
    assert [row["reason"] for row in found] == [None, "too_large", None, "too_large"]


def test_a_zip_bomb_is_not_held(tmp_path: Path) -> None:
    """2 GB in one line, 64 kB on disk: the reader holds one document of the largest size, and reads on behind it."""
    compressor = zstandard.ZstdCompressor()
    with (tmp_path / "a.jsonl.zst").open("wb") as file, compressor.stream_writer(file) as bomb:
        bomb.write(jsonl(["a"]))
        for _ in range(2048):
            bomb.write(bytes(2**20))
        bomb.write(b"\n" + jsonl(["b"]))
    assert (tmp_path / "a.jsonl.zst").stat().st_size < 300_000
    script = (
        "import sys; from pathlib import Path; from tests.corpus.files import rows_of;"
        "from tests.processes import peak_kilobytes;"
        "print([row['text'] or row['reason'] for row in rows_of(Path(sys.argv[1]))], peak_kilobytes())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.jsonl.zst")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found, peak = shown.rsplit(maxsplit=1)
    assert found == "['a', 'too_large', 'b']"
    assert int(peak) < 1_000_000


def test_long_names_of_other_columns_are_cut(tmp_path: Path) -> None:
    (row,) = rows_of(put(tmp_path / "a.jsonl", json.dumps({"x" * 10_000: 1})))
    assert row["message"] == f"no column 'text'; the record has {'x' * 40!r}"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", jsonl(["a\0b"])),
        ("a.csv", csv_of(["a\0b"])),
        ("a.parquet", parquet_of(["a\0b"])),
    ],
)
def test_a_nul_byte_is_a_character_of_the_text(tmp_path: Path, name: str, data: bytes) -> None:
    assert texts_of(put(tmp_path / name, data)) == ["a\0b"]


def test_repeated_ids_keep_their_rows_and_pointers(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        put(tmp_path / name, b"\n".join(json_line(id="same", text=text) for text in (name, "x")))
    found = rows_of(tmp_path, id_column="id")
    assert [(row["id"], row["text"]) for row in found] == [
        ("same", "a.jsonl"), ("same", "x"), ("same", "b.jsonl"), ("same", "x")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.jsonl", jsonl(["a"])), ("a.parquet", parquet_of(["a"])), ("a.txt", b"a")],
    ids=["jsonl", "parquet", "text"],
)
def test_a_file_replaced_after_planning_is_not_read(tmp_path: Path, name: str, data: bytes) -> None:
    (unit,) = units_of(put(tmp_path / name, data))
    put(tmp_path / name, data)
    with pytest.raises(SourceChangedError, match=f"{name} was replaced after this run was planned"):
        read(STORAGE, unit)


def test_a_file_replaced_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.jsonl", jsonl(["a", "b"])))
    reading = rows(STORAGE, unit)
    next(reading)
    put(tmp_path / "a.jsonl", jsonl(["a", "c"]))
    with pytest.raises(SourceChangedError, match="was replaced"):
        list(reading)


def test_a_file_that_is_gone_is_not_read(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.jsonl", jsonl(["a"])))
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(SourceChangedError, match="is gone after this run was planned"):
        read(STORAGE, unit)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.jsonl", b'{"body": "a", "id": 1}', "no column 'text'; the record has 'body', 'id'"),
        ("a.jsonl", b"[1]", "expected a JSON object, found int"),
        ("a.jsonl", b'{"text": 3}', None),
        ("a.csv", b"body,id\na,1\n", "no column 'text'; the record has 'body', 'id'"),
        ("a.csv", "größe\n1\n".encode("latin-1"), r"no column 'text'; the record has 'gr\udcf6\udcdfe'"),
        ("a.jsonl", b"[1]\n" + jsonl(["a"]), None),
        ("a.jsonl", b"[1]\n" * FIRST_RECORDS + jsonl(["a"]), "expected a JSON object, found list"),
        ("a.csv", b"text\n", None),
        ("a.csv", b"", None),
    ],
    ids=[
        "jsonl", "no object", "one bad text", "csv", "latin-1 header", "one of two", "all of the first", "no row", "empty",
    ],
)  # fmt: skip
def test_the_first_records_tell_of_a_missing_column(
    tmp_path: Path, name: str, data: bytes, problem: str | None
) -> None:
    (unit,) = units_of(put(tmp_path / name, data))
    advice = "; set corpus.text_column and corpus.id_column"
    assert first_records_problem(STORAGE, unit) == (problem and problem + advice)


def test_the_first_records_tell_of_what_is_no_text(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.jsonl", gzip.compress(jsonl(["a"]))))
    problem = first_records_problem(STORAGE, unit)
    assert problem is not None
    assert problem.startswith("by its first bytes the file is gzip; name it by what it is")
    assert "text_column" not in problem


@pytest.mark.parametrize("column", ["text_column", "id_column"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_missing_column_costs_every_row(tmp_path: Path, name: str, column: str) -> None:
    path = put(tmp_path / name, jsonl(["a", "b"]) if "json" in name else b"text\na\nb\n")
    assert problems_of(path, **{column: "other"}) == ["no_column"] * 2


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.csv", "a.csv.gz", "a.csv.zst"])
def test_an_empty_file_has_no_documents(tmp_path: Path, name: str) -> None:
    assert rows_of(put(tmp_path / name, b"")) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"text\n"),
        ("a.jsonl", b"\n \n\r\n"),
        ("a.jsonl.gz", gzip.compress(b"")),
        ("a.jsonl.zst", zstandard.compress(b"")),
        ("a.parquet", parquet_of([], pa.string())),
    ],
    ids=["header", "blank lines", "empty gz", "empty zst", "no rows"],
)
def test_a_file_without_records_has_no_documents(tmp_path: Path, name: str, data: bytes) -> None:
    assert rows_of(put(tmp_path / name, data)) == []


def test_an_empty_text_file_is_an_empty_document(tmp_path: Path) -> None:
    assert texts_of(put(tmp_path / "a.txt", b"")) == [""]


def test_a_text_file_that_is_no_utf8_leaves_with_its_uri(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", b"a\xff")
    (row,) = rows_of(path, id_column="id")
    assert (row["id"], row["reason"]) == (f"file://{path}", "invalid_utf8")


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.parquet", parquet_of(TEXTS)), ("a.jsonl", jsonl(TEXTS)), ("a.csv", csv_of(TEXTS)),
     ("a.jsonl.zst", ZSTANDARD)],
    ids=["parquet", "jsonl", "csv", "zst"],
)  # fmt: skip
@pytest.mark.parametrize("limit", [0, 1, 5, 100])
def test_a_limit_reads_the_first_documents(tmp_path: Path, name: str, data: bytes, limit: int) -> None:
    (unit,) = units_of(put(tmp_path / name, data))
    found = read_units([replace(unit, limit=limit)])
    assert [row["text"] for row in found] == TEXTS[:limit]
