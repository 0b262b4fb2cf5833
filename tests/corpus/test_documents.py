"""Every document of every format arrives once, where it was; what can't be read costs its own row only."""

import bz2
import gzip
import hashlib
import json
import lzma
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from pipeline.corpus.documents import FIRST_RECORDS, first_record_problems, rows
from pipeline.errors import SourceChangedError, StorageError
from pipeline.schema import DOCUMENTS
from tests.corpus.files import (
    LARGE,
    STORAGE,
    csv_of,
    json_line,
    jsonl,
    limited,
    parquet_of,
    problems_of,
    put,
    read,
    read_units,
    rows_of,
    texts_of,
    units_of,
)

TEXTS = ["plain", "two\nlines", "日本語 ﬁ 👩‍👩‍👧", "", "quoted \"'\t,", "x" * 5000]


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
        ("a.jsonl.bz2", bz2.compress(jsonl(TEXTS))),
        ("a.jsonl.bz2", bz2.compress(jsonl(TEXTS[:2])) + bz2.compress(jsonl(TEXTS[2:]))),
        ("a.jsonl.xz", lzma.compress(jsonl(TEXTS))),
        ("a.jsonl.xz", lzma.compress(jsonl(TEXTS[:2])) + bytes(8) + lzma.compress(jsonl(TEXTS[2:])) + bytes(4)),
        ("a.csv.gz", gzip.compress(csv_of(TEXTS))),
        ("a.csv.zst", zstandard.compress(csv_of(TEXTS))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("text_bytes", [100, 16_000_000])
def test_what_was_written_is_read(tmp_path: Path, name: str, data: bytes, text_bytes: int) -> None:
    assert texts_of(put(tmp_path / name, data), text_bytes) == TEXTS


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


GZIPPED, ZSTANDARD = gzip.compress(jsonl(TEXTS)), zstandard.compress(jsonl(TEXTS))
BZIPPED, XZ = bz2.compress(jsonl(TEXTS)), lzma.compress(jsonl(TEXTS))


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
        ("a.jsonl.bz2", b"no bzip2"),
        ("a.jsonl.bz2", BZIPPED[:-5]),
        ("a.jsonl.bz2", BZIPPED[:20] + b"\xff\xff" + BZIPPED[22:]),
        ("a.jsonl.xz", b"no xz"),
        ("a.jsonl.xz", b""),
        ("a.jsonl.xz", XZ[:-5]),
        ("a.jsonl.xz", XZ[:40] + b"\xff\xff" + XZ[42:]),
        ("a.jsonl.xz", XZ + b"junk"),
    ],
)
def test_damaged_compression_leaves_as_one_row(tmp_path: Path, name: str, data: bytes) -> None:
    path = put(tmp_path / name, data)
    *whole, last = rows_of(path)
    assert [row["text"] for row in whole] == TEXTS[: len(whole)]
    assert (last["stage"], last["reason"], last["position"]) == ("read", "damaged_file", len(whole))
    assert re.match(rf"(from here on: )?file://{path}: not readable as (gzip|zstd|bzip2|xz) \(", last["message"])
    assert last["message"].startswith("from here on") == bool(whole)
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
    before, large, after = read_units([limited(unit, 100)])
    assert (before["text"], large["text"], after["text"]) == ("a", None, "b")
    assert (large["stage"], large["reason"]) == ("read", "too_large")
    assert large["message"] == "expected at most 100 bytes; split the document, or allow more"
    (same,) = units_of(tmp_path / name)
    assert read_units([same])[2] == after  # its position too


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
        "import sys; from pathlib import Path; from tests.corpus.files import limited, rows_of;"
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
        ("a.jsonl", b"{}", "no column 'text'; the record is empty"),
    ],
    ids=[
        "jsonl", "no object", "one bad text", "csv", "latin-1 header", "one of two", "all of the first", "no row", "empty", "empty record",
    ],
)  # fmt: skip
def test_the_first_records_tell_of_a_missing_column(
    tmp_path: Path, name: str, data: bytes, problem: str | None
) -> None:
    (unit,) = units_of(put(tmp_path / name, data))
    advice = "; set corpus.text_column and corpus.id_column"
    problems = first_record_problems(STORAGE, unit)
    assert {*problems} == ({problem and problem + advice} if data not in (b"", b"text\n") else set())


def test_the_first_records_tell_of_what_is_no_text(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.jsonl", gzip.compress(jsonl(["a"]))))
    (problem,) = first_record_problems(STORAGE, unit)
    assert problem is not None
    assert problem.startswith("by its first bytes the file is gzip; name it by what it is")
    assert "text_column" not in problem


def test_what_is_damaged_says_nothing_of_columns(tmp_path: Path) -> None:
    lines = b'[{"body": "a"}, {"body": "b"}'
    (unit,) = units_of(put(tmp_path / "a.json", lines + b", [1"))
    assert [problem and problem[:17] for problem in first_record_problems(STORAGE, unit)] == ["no column 'text';"] * 2
    put(tmp_path / "a.json", lines.replace(b"body", b"text") + b", [1")
    (unit,) = units_of(tmp_path / "a.json")
    assert first_record_problems(STORAGE, unit) == [None]
    (unit,) = units_of(put(tmp_path / "a.csv.gz", b"no gzip"))
    assert first_record_problems(STORAGE, unit) == []


@pytest.mark.parametrize("text", ["ä" * 60, "\U0001f600" * 30], ids=["two bytes", "four bytes"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_text_is_measured_in_bytes_of_utf8(tmp_path: Path, name: str, text: str) -> None:
    escaped = json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"
    data = {"a.csv": csv_of([text]), "a.jsonl": escaped, "a.parquet": parquet_of([text])}[name]
    (unit,) = units_of(put(tmp_path / name, data))
    assert [row["reason"] for row in read_units([limited(unit, 119)])] == ["too_large"]
    assert [row["text"] for row in read_units([limited(unit, 200)])] == [text]


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
