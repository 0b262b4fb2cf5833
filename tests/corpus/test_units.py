"""Cutting: nothing lost, nothing twice, about the size asked for; and a unit's name is what it reads."""

import gzip
import io
import os
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.files import discover
from pipeline.corpus.slices import Bytes, Part, RowGroups, Rows, Slice, Stream, Unit, Unreadable, WholeFile
from pipeline.corpus.units import cut, even_ranges, parquet_slices
from pipeline.errors import CorpusError
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage
from tests.corpus.files import STORAGE, put, read_units, rows_of, texts_of, units_of


def write_parquet(path: Path, texts: list[Any], row_group_size: int = 10) -> Path:
    table = pa.table({"text": texts, "id": range(len(texts))})
    pq.write_table(table, path, row_group_size=row_group_size, use_dictionary=False)
    return path


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


@pytest.mark.parametrize(
    ("sizes", "rows", "expected"),
    [
        ([], [], []),
        ([40], [4], [(RowGroups(0, 1, 0), 4)]),
        ([40, 40, 40], [4, 5, 6], [(RowGroups(0, 2, 0), 9), (RowGroups(2, 3, 9), 6)]),
        ([150, 40], [9, 1], [(RowGroups(0, 1, 0), 9), (RowGroups(1, 2, 9), 1)]),
        ([40, 250, 40], [1, 6, 1], [(RowGroups(0, 1, 0), 1), (Rows(1, 0, 2, 1), 2), (Rows(1, 2, 4, 1), 2), (Rows(1, 4, 6, 1), 2), (RowGroups(2, 3, 7), 1)]),
        ([900], [1], [(RowGroups(0, 1, 0), 1)]),
        ([0, 0], [0, 0], []),
    ],
    ids=["no groups", "small", "joined", "rather large", "cut", "one huge row", "no rows"],
)  # fmt: skip
def test_slices(sizes: list[int], rows: list[int], expected: list[tuple[Slice, int]]) -> None:
    assert list(parquet_slices(sizes, rows, 100)) == expected


def rows_read(slice_: Slice, rows: list[int]) -> list[int]:
    """The file's rows that a slice reads, counted from its own first_row."""
    if isinstance(slice_, Rows):
        return list(range(slice_.first_row + slice_.start, slice_.first_row + slice_.stop))
    assert isinstance(slice_, RowGroups)
    return list(range(slice_.first_row, slice_.first_row + sum(rows[slice_.first : slice_.stop])))


groups = st.lists(st.integers(0, 30).flatmap(lambda n: st.tuples(st.integers(n, n * 40), st.just(n))), max_size=12)  # fmt: skip


@given(groups, st.integers(1, 400))
def test_slices_cover_all_rows_once_and_in_order(groups: list[tuple[int, int]], text_bytes: int) -> None:
    sizes, rows = [size for size, _ in groups], [n for _, n in groups]
    slices = list(parquet_slices(sizes, rows, text_bytes))
    read = [rows_read(slice_, rows) for slice_, _ in slices]
    assert [row for part in read for row in part] == list(range(sum(rows)))
    assert [len(part) for part in read] == [n for _, n in slices]
    assert all(part for part in read)


@given(groups, st.integers(1, 400))
def test_slices_point_into_their_row_groups(groups: list[tuple[int, int]], text_bytes: int) -> None:
    rows = [n for _, n in groups]
    for slice_, _ in parquet_slices([size for size, _ in groups], rows, text_bytes):
        group = slice_.row_group if isinstance(slice_, Rows) else slice_.first  # type: ignore[attr-defined]
        assert slice_.first_row == sum(rows[:group])  # type: ignore[attr-defined]


@given(groups, st.integers(1, 400))
def test_joined_row_groups_are_not_too_large(groups: list[tuple[int, int]], text_bytes: int) -> None:
    sizes = [size for size, _ in groups]
    for slice_, n_rows in parquet_slices(sizes, [n for _, n in groups], text_bytes):
        if isinstance(slice_, RowGroups):
            size = sum(sizes[slice_.first : slice_.stop])
            assert size <= 2 * text_bytes or n_rows == 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["a" * 10, "b" * 300, "c" * 3000, None]), min_size=1, max_size=120),
    st.integers(1, 50),
    st.integers(50, 5000),
)
def test_a_real_parquet_file_is_read_whole_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str | None],
    row_group_size: int,
    text_bytes: int,
) -> None:
    path = write_parquet(tmp_path_factory.mktemp("p") / "a.parquet", texts, row_group_size)
    rows = rows_of(path, text_bytes)
    assert [row["text"] for row in rows] == texts
    assert [row["position"] for row in rows] == list(range(len(texts)))


def test_a_parquet_unit_knows_its_documents(tmp_path: Path) -> None:
    units = units_of(write_parquet(tmp_path / "a.parquet", ["x" * 100] * 55), 2000)
    assert [unit.documents for unit in units] == [len(read_units([unit])) for unit in units]
    assert len(units) > 2


def test_rows_deep_in_a_large_row_group_are_found(tmp_path: Path) -> None:
    texts = [f"{i:04}" * 25 for i in range(5000)]
    units = units_of(write_parquet(tmp_path / "a.parquet", texts, row_group_size=5000), 30_000)
    assert all(isinstance(unit.slice, Rows) for unit in units)
    assert [row["text"] for row in read_units(units[-2:])] == texts[-sum(u.documents or 0 for u in units[-2:]) :]  # fmt: skip


def test_json_lines_are_cut_by_bytes_and_streams_when_they_are_read(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl.gz", "c.csv", "d.txt"):
        put(tmp_path / name, b"x" * 100)
    units = units_of(tmp_path, 30)
    assert [unit.slice for unit in units] == [
        Bytes(0, 33), Bytes(33, 66), Bytes(66, 100), Stream(30), Stream(30), WholeFile()
    ]  # fmt: skip
    assert [unit.documents for unit in units] == [None] * 5 + [1]


LINE = '{"text": "a"}\n'


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


def test_a_parquet_file_without_rows_has_no_unit(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert units_of(tmp_path / "a.parquet") == []


@pytest.mark.parametrize("setting", ["text_column", "id_column"])
def test_a_missing_parquet_column_is_refused(tmp_path: Path, setting: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", ["a"])
    message = rf"a.parquet: no column 'body' \(corpus.{setting}\); the file has text, id"
    with pytest.raises(CorpusError, match=message):
        units_of(path, 1000, **{setting: "body"})


@pytest.mark.parametrize(
    ("values", "type_"),
    [([1], "int64"), ([["a"]], "list<element: string>"), ([{"text": "a"}], "struct<text: string>")],
)
def test_a_column_that_holds_no_text_is_refused(tmp_path: Path, values: list[Any], type_: str) -> None:
    message = rf"a.parquet: column 'text' \(corpus.text_column\) is {type_}; expected strings"
    with pytest.raises(CorpusError, match=message):
        units_of(write_parquet(tmp_path / "a.parquet", values))


def test_a_field_of_a_struct_is_no_column(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [{"body": "a"}])
    with pytest.raises(CorpusError, match=r"no column 'text.body' .*; the file has text, id"):
        units_of(path, text_column="text.body")


def test_a_column_beside_a_struct_is_sized_by_its_own_leaf(tmp_path: Path) -> None:
    table = pa.table({"meta": [{"text": "m" * 5000}] * 40, "text": ["a"] * 40})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10, use_dictionary=False)
    assert len(units_of(tmp_path / "a.parquet", 30_000)) == 1


def test_a_column_name_may_hold_a_dot(tmp_path: Path) -> None:
    pq.write_table(pa.table({"page.text": ["a"]}), tmp_path / "a.parquet")
    assert texts_of(tmp_path / "a.parquet", text_column="page.text") == ["a"]


def damaged_footers() -> dict[str, bytes]:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"]}), file)
    good = file.getvalue()
    thrift = good[: -len(good) // 2] + b"\xff" * 40 + good[-len(good) // 2 + 40 :]
    return {"empty": b"", "no magic": b"x" * 100, "cut": good[:-3], "footer": thrift}


@pytest.mark.parametrize("data", [pytest.param(d, id=n) for n, d in damaged_footers().items()])
def test_a_damaged_parquet_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CorpusError, match=r"a.parquet: not readable as parquet \("):
        units_of(put(tmp_path / "a.parquet", data))


@pytest.mark.parametrize("data", [pytest.param(d, id=n) for n, d in damaged_footers().items()])
def test_a_damaged_parquet_file_among_good_ones_is_one_error(tmp_path: Path, data: bytes) -> None:
    put(tmp_path / "a.parquet", data)
    write_parquet(tmp_path / "b.parquet", ["text"])
    units = units_of(tmp_path)
    assert [unit.documents for unit in units] == [1, 1]
    bad, good = read_units(units)
    assert (bad["stage"], bad["reason"]) == ("read", "damaged_file")
    assert (bad["id"], bad["text"]) == (f"file://{tmp_path}/a.parquet#0", None)
    assert "a.parquet: not readable as parquet (" in bad["message"]
    assert good["text"] == "text"


def test_a_parquet_file_of_another_schema_among_good_ones_is_an_error_per_row(
    tmp_path: Path,
) -> None:
    pq.write_table(pa.table({"body": ["a", "b"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": [1, 2, 3]}), tmp_path / "b.parquet")
    write_parquet(tmp_path / "c.parquet", ["text"])
    found = rows_of(tmp_path)
    assert [row["reason"] for row in found] == ["no_column"] * 5 + [None]
    assert [row["position"] for row in found] == [0, 1, 0, 1, 2, 0]
    assert "no column 'text' (corpus.text_column); the file has body" in found[0]["message"]
    assert "is int64; expected strings" in found[2]["message"]


def test_errors_of_another_schema_are_cut_into_units(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["a"] * 25_000}), tmp_path / "a.parquet")
    write_parquet(tmp_path / "b.parquet", ["text"])
    units = units_of(tmp_path)[:-1]
    assert [unit.documents for unit in units] == [10_000, 10_000, 5_000]
    assert [row["position"] for row in read_units(units)] == list(range(25_000))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array(["b"])]
    pq.write_table(pa.table(columns, names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match="more than one column 'text'"):
        units_of(tmp_path)


def test_the_largest_document_is_the_job_s_to_say(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "text\nab\nabcdefghijkl\n")
    found = [row["reason"] for row in rows_of(path, max_document_bytes=10)]
    assert found == [None, "too_large"]


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
        {"text_column": "body"},
        {"id_column": "id"},
        {"limit": 1},
        {"max_document_bytes": 1},
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


def test_many_files_are_cut_by_others_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(7):
        table = pa.table({"text": [f"text {number}"] * (number + 1)})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    expected = units_of(tmp_path)
    assert [unit.documents for unit in expected] == [1, 2, 3, 4, 5, 6, 7]
    sizes: list[int] = []

    def mapped(function: Any, items: Any, /) -> Any:
        for item in pickle.loads(pickle.dumps(list(items))):
            sizes.append(len(item))
            yield pickle.loads(pickle.dumps(function))(item)

    monkeypatch.setattr("pipeline.corpus.units.TOGETHER", 3)
    settings = CorpusSettings(uris=(str(tmp_path),))
    files = discover(STORAGE, settings).files
    assert cut(STORAGE, files, settings, 16_000_000, mapped) == expected
    assert sizes == []  # few: Ray's start would cost more than their requests
    monkeypatch.setattr("pipeline.corpus.units.MANY_FILES", 6)
    assert cut(STORAGE, files, settings, 16_000_000, mapped) == expected
    assert sizes == [3, 3, 1]
