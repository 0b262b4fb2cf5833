"""One reading of a file gives each unit what the unit alone would give."""

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from pipeline.corpus.rows import DOCUMENT_BYTES, weight
from pipeline.corpus.slices import Rows, Stream, Unit
from pipeline.corpus.streams import numbered, passes, read_pass
from pipeline.errors import SourceChangedError, StorageError
from tests.corpus.files import STORAGE, Row, put, read, units_of


def lines(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def table(texts: list[str]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["n", "text"], *enumerate(texts)])
    return file.getvalue().encode()


WRITERS = {
    "a.jsonl.gz": lambda texts: gzip.compress(lines(texts)),
    "a.jsonl.zst": lambda texts: zstandard.compress(lines(texts)),
    "a.jsonl.bz2": lambda texts: bz2.compress(lines(texts)),
    "a.jsonl.xz": lambda texts: lzma.compress(lines(texts)),
    "a.csv": table,
    "a.csv.gz": lambda texts: gzip.compress(table(texts)),
}
TEXTS = [f"{number} " + "word " * (number % 7 * 50) for number in range(60)]


def read_passes(units: list[Unit]) -> list[tuple[Unit, list[Row]]]:
    together = [found for units_ in passes(units) for found in read_pass(STORAGE, units_)]
    return [(unit, documents.to_pylist()) for unit, documents in together]


def stream_of(path: Path, text_bytes: int) -> Unit:
    (unit,) = units_of(path, text_bytes)
    assert unit.slice == Stream(text_bytes)
    return unit


@pytest.mark.parametrize("name", WRITERS)
def test_a_stream_gives_its_parts_one_after_the_other(tmp_path: Path, name: str) -> None:
    stream = stream_of(put(tmp_path / name, WRITERS[name](TEXTS)), 5000)
    found = read_passes([stream])
    assert [unit for unit, _ in found] == [stream.part(number) for number in range(len(found))]
    assert len(found) > 5
    assert [row["text"] for _, part in found for row in part] == TEXTS
    assert [row["position"] for _, part in found for row in part] == list(range(60))
    assert [row for _, part in found for row in part] == read(STORAGE, stream).to_pylist()


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), text_bytes=st.integers(1, 20_000))
def test_any_parts_are_read_as_each_alone(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject, text_bytes: int
) -> None:
    path = put(tmp_path_factory.getbasetemp() / "parts" / name, WRITERS[name](TEXTS))
    every = [unit for unit, _ in read_passes([stream_of(path, text_bytes)])]
    wanted = sorted(data.draw(st.sets(st.integers(0, len(every) - 1), min_size=1, max_size=4)))
    found = read_passes([every[number] for number in wanted])
    assert found == [(every[number], read(STORAGE, every[number]).to_pylist()) for number in wanted]


def rows_units(path: Path, texts: list[str], text_bytes: int) -> list[Unit]:
    pq.write_table(pa.table({"text": texts}), path, row_group_size=40, use_dictionary=False)
    units = units_of(path, text_bytes)
    assert all(isinstance(unit.slice, Rows) for unit in units)
    return units


def test_rows_of_a_large_row_group_are_read_in_one_pass(tmp_path: Path) -> None:
    units = rows_units(tmp_path / "a.parquet", TEXTS, 2000)
    assert [len(together) for together in passes(units)] == [
        len(units) - len(units) // 3,
        len(units) // 3,
    ]
    assert [row["text"] for _, documents in read_passes(units) for row in documents] == TEXTS
    some = [units[1], units[2], units[5], units[-1]]
    assert read_passes(some) == [(unit, read(STORAGE, unit).to_pylist()) for unit in some]


def test_units_that_can_be_read_alone_are(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.txt", "c.jsonl.gz", "d.jsonl.gz"):
        put(tmp_path / name, b"x" * 100)
    units = units_of(tmp_path, 30)
    assert list(passes(units)) == [(unit,) for unit in units]


@pytest.mark.parametrize("n_documents", [2, 7])
def test_a_limit_holds_for_its_own_unit(tmp_path: Path, n_documents: int) -> None:
    stream = stream_of(put(tmp_path / "a.csv", table(TEXTS)), 5000)
    limited = replace(stream.part(1), limit=n_documents)
    (whole, cut) = read_passes([stream.part(0), limited])
    assert cut[1] == read(STORAGE, stream.part(1)).to_pylist()[:n_documents]
    assert whole[1] == read(STORAGE, stream.part(0)).to_pylist()


@pytest.mark.parametrize(
    "data",
    [gzip.compress(b""), b"", gzip.compress(b"\n \n")],
    ids=["empty", "no byte", "blank lines"],  # gzip writes the time, pytest the bytes
)
def test_a_stream_without_documents_has_no_part(tmp_path: Path, data: bytes) -> None:
    assert read_passes([stream_of(put(tmp_path / "a.jsonl.gz", data), 100)]) == []


def test_damage_is_one_row_of_the_part_that_it_lies_in(tmp_path: Path) -> None:
    data = zstandard.compress(lines([f"{number:05} {'x' * 90}" for number in range(20_000)]))
    stream = stream_of(put(tmp_path / "a.jsonl.zst", data[: len(data) // 2]), 200_000)
    found = read_passes([stream])
    assert len(found) > 3
    reasons = [[row["reason"] for row in part if row["reason"]] for _, part in found]
    assert reasons == [[]] * (len(found) - 1) + [["damaged_file"]]
    last, documents = found[-1]
    assert read(STORAGE, last).to_pylist() == documents


def test_damage_that_is_not_there_again_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.compress(lines(TEXTS))
    stream = stream_of(put(tmp_path / "a.jsonl.gz", data), 5000)
    (tmp_path / "cut.gz").write_bytes(data[:-5])
    opened = iter([tmp_path / "cut.gz", tmp_path / "a.jsonl.gz"])
    monkeypatch.setattr("gzip.open", lambda file: gzip.GzipFile(next(opened)))
    with pytest.raises(StorageError, match=r"damaged when read once, and not .* run again"):
        read_passes([stream])


def test_a_stream_that_ends_too_early_is_not_believed(tmp_path: Path) -> None:
    stream = stream_of(put(tmp_path / "a.csv", table(TEXTS)), 5000)
    n_parts = len(read_passes([stream]))
    with pytest.raises(StorageError, match=rf"a\.csv: ends before part {n_parts}, .* run again"):
        read_passes([stream.part(0), stream.part(n_parts)])


def test_no_part_is_given_of_a_file_that_was_replaced(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", table(TEXTS))
    reading = read_pass(STORAGE, (stream_of(path, 5000),))
    next(reading)
    put(path, table(TEXTS))
    with pytest.raises(SourceChangedError, match="was replaced"):
        next(reading)


HELD = """
import sys
from pathlib import Path
from pipeline.corpus.streams import read_pass
from tests.corpus.files import STORAGE, units_of
from tests.processes import peak_kilobytes

(unit,) = units_of(Path(sys.argv[1]), 2_000_000)
reading = read_pass(STORAGE, (unit,))
next(reading)
first, parts = peak_kilobytes(), 1 + sum(1 for _ in reading)
print(parts, first, peak_kilobytes())
"""


@pytest.mark.parametrize(
    ("ending", "some"),
    [("zst", lines(["word " * 4000] * 50)), ("gz", lines(["word " * 4000] * 50)), ("zst", b"{}\n" * 1500)],
    ids=["zst", "gz", "lines that hold nothing"],
)  # fmt: skip
def test_however_long_a_stream_is_one_part_of_it_is_held(tmp_path: Path, ending: str, some: bytes) -> None:
    """200 MB of documents, or 300,000 that weigh nothing, in a few kilobytes; in a process of its own."""
    path = tmp_path / f"a.jsonl.{ending}"
    with pa.CompressedOutputStream(path, "zstd" if ending == "zst" else "gzip") as file:
        for _ in range(200):
            file.write(some)
    command = [sys.executable, "-c", HELD, str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parts, first, peak = map(int, shown.split())
    assert parts > 40
    assert peak < first + 60_000, "kilobytes: one part is read while the one before is kept"


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
