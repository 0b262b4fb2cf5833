import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from pipeline.tables.hive_paths import partition_path
from pipeline.tables.repeatable_parquet import parquet_bytes


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([], ""),
        ([("a", "1"), ("b", "x y")], "a=1/b=x y/"),
        ([("a", "x/y"), ("b", "..")], "a=x%2Fy/b=../"),
        ([("a", "k=v"), ("b", "50%")], "a=k%3Dv/b=50%25/"),
        ([("a", None), ("b", "")], "a=__HIVE_DEFAULT_PARTITION__/b=__HIVE_DEFAULT_PARTITION__/"),
        ([("a", "__HIVE_DEFAULT_PARTITION__")], "a=%5F_HIVE_DEFAULT_PARTITION__/"),
        ([("ключ", "é")], "%D0%BA%D0%BB%D1%8E%D1%87=%C3%A9/"),
    ],
    ids=[
        "none",
        "plain",
        "slash",
        "equals and percent",
        "null and empty",
        "null's own name",
        "unicode",
    ],
)
def test_partition_path(values: list[tuple[str, str | None]], path: str):
    assert partition_path(values) == path


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@given(st.lists(st.tuples(names, names), max_size=3))
def test_no_value_leaves_its_folder(values: list[tuple[str, str | None]]):
    segments = partition_path(values).split("/")
    assert len(segments) == len(values) + 1
    assert all(segment.count("=") == 1 for segment in segments[:-1])
    assert not {".", ".."} & set(segments)


@pytest.mark.parametrize("value", ["plain", "x y", "a/b", "k=v", "50%", "é", "..", "a+b", "'quote'"])
def test_an_engine_reads_the_value_back(tmp_path, value: str):
    folder = tmp_path / partition_path([("key", value)])
    folder.mkdir(parents=True)
    (folder / "part.parquet").write_bytes(parquet_bytes(pa.table({"id": ["a"]})))
    found = duckdb.sql(
        f"select distinct key from read_parquet('{tmp_path}/**/*.parquet', hive_partitioning = true, "
        "hive_types_autocast = false)"
    )
    assert found.fetchall() == [(value,)]
