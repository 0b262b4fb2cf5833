"""Parquet: cut by its footer, nothing lost, nothing twice; damage costs its row group, a bad value its row."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.corpus.formats.parquet import parquet_slices
from pipeline.corpus.slices import RowGroups, Rows, Slice
from pipeline.errors import CorpusError
from tests.corpus.files import parquet_of, problems_of, put, read_units, rows_of, texts_of, units_of


def damaged_footers() -> dict[str, bytes]:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"]}), file)
    good = file.getvalue()
    thrift = good[: -len(good) // 2] + b"\xff" * 40 + good[-len(good) // 2 + 40 :]
    return {"empty": b"", "no magic": b"x" * 100, "cut": good[:-3], "footer": thrift}


def write_parquet(path: Path, texts: list[Any], row_group_size: int = 10) -> Path:
    table = pa.table({"text": texts, "id": range(len(texts))})
    pq.write_table(table, path, row_group_size=row_group_size, use_dictionary=False)
    return path


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


def test_a_column_beside_a_struct_is_sized_by_its_own_leaf(tmp_path: Path) -> None:
    table = pa.table({"meta": [{"text": "m" * 5000}] * 40, "text": ["a"] * 40})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10, use_dictionary=False)
    assert len(units_of(tmp_path / "a.parquet", 30_000)) == 1


def test_a_column_name_may_hold_a_dot(tmp_path: Path) -> None:
    pq.write_table(pa.table({"page.text": ["a"]}), tmp_path / "a.parquet")
    assert texts_of(tmp_path / "a.parquet", text_column="page.text") == ["a"]


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
