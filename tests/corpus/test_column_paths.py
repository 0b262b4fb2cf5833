"""Columns inside others; DuckDB and pyarrow say what is there."""

import functools
import io
import json
import operator
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.corpus.column_paths import ColumnPathError, Repeating, arrow_path, value_at
from pipeline.corpus.formats.parquet_rows import parquet_rows
from pipeline.corpus.labels import Labelled
from pipeline.corpus.rows import with_python_text
from pipeline.errors import CorpusError
from tests.corpus.files import STORAGE, problems_of, put, rows_of, texts_of, units_of

BODY = pa.struct([("lang", pa.string()), ("text", pa.string())])
DOC = pa.struct([("body", BODY), ("n", pa.int64())])
PATH = "doc.body.text"

bodies = st.none() | st.fixed_dictionaries({"lang": st.none() | st.text(max_size=3), "text": st.none() | st.text()})
docs = st.none() | st.fixed_dictionaries({"body": bodies, "n": st.none() | st.integers(0, 9)})


def write(path: Path, values: list[Any], name: str = "doc", **options: Any) -> Path:
    pq.write_table(pa.table({name: pa.array(values, DOC)}), path, **options)
    return path


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@given(
    values=st.lists(docs, min_size=1, max_size=12), row_group_size=st.integers(1, 12), text_bytes=st.integers(1, 3000)
)
def test_a_path_gives_what_duckdb_selects(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], row_group_size: int, text_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("paths")
    path = write(folder / "a.parquet", values, row_group_size=row_group_size)
    put(folder / "a.jsonl", lines(*({"doc": value} for value in values)))
    expected = [text for (text,) in duckdb.sql(f"SELECT {PATH} FROM '{path}'").fetchall()]
    assert texts_of(path, text_bytes, text_column=PATH) == expected
    assert texts_of(folder / "a.jsonl", text_bytes, text_column=PATH) == expected


def test_only_the_leaf_is_read(tmp_path: Path) -> None:
    value = {"body": {"lang": "x" * 100_000, "text": "short"}, "n": 1}
    path = write(tmp_path / "a.parquet", [value] * 30, use_dictionary=False, compression="none")
    (unit,) = units_of(path, text_column=PATH)
    file = Counted(path.read_bytes())
    assert [row["text"] for row in map(with_python_text, parquet_rows(file, unit))] == ["short"] * 30
    assert file.n_bytes < 100_000 < path.stat().st_size


class Counted(io.BytesIO):
    n_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.n_bytes += len(data)
        return data


def test_units_of_a_path_are_cut_by_the_size_of_its_leaf(tmp_path: Path) -> None:
    values = [{"body": {"lang": "l" * 5000, "text": "t"}, "n": 1}] * 40
    path = write(tmp_path / "a.parquet", values, row_group_size=10, use_dictionary=False)
    assert len(units_of(path, 30_000, text_column=PATH)) == 1
    assert len(units_of(path, 30_000, text_column="doc.body.lang")) > 1


def test_a_whole_name_comes_before_a_path(tmp_path: Path) -> None:
    table = pa.table({"doc": [{"text": "of the path"}], "doc.text": ["of the name"]})
    pq.write_table(table, tmp_path / "a.parquet")
    put(tmp_path / "a.jsonl", lines(*table.to_pylist()))
    put(tmp_path / "a.csv", "doc,doc.text\nof the path,of the name\n")
    for name in ("a.parquet", "a.jsonl", "a.csv"):
        assert texts_of(tmp_path / name, text_column="doc.text") == ["of the name"]


def test_a_column_of_nulls_on_the_way_gives_nulls(tmp_path: Path) -> None:
    pq.write_table(pa.table({"doc": pa.nulls(2), "id": ["a", "b"]}), tmp_path / "a.parquet")
    assert texts_of(tmp_path / "a.parquet", text_column=PATH, id_column="id") == [None, None]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("doc.bdy.text", r"no column 'doc.bdy.text' \(corpus.text_column\): no 'bdy'; 'doc' has body, n$"),
        ("doc.Body.text", r"no 'Body'; 'doc' has body, n; 'body' is another name: case and blanks count$"),
        ("dok.body", r"no column 'dok.body' .*: no 'dok'; the file has doc, tags$"),
        ("doc.body.text.x", r": 'doc.body.text' is string, which has no fields$"),
        ("tags.name", r": 'tags' is list<.*; a path can't lead through a list: write what is meant as a column of"),
        ("doc.body", r"column 'doc.body' \(corpus.text_column\) is struct<.*; expected strings$"),
    ],
)
def test_a_path_that_leads_nowhere_in_parquet_is_refused(tmp_path: Path, column: str, message: str) -> None:
    tags = pa.array([[{"name": "a"}]])
    pq.write_table(pa.table({"doc": pa.array([{}], DOC), "tags": tags}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=message):
        units_of(tmp_path / "a.parquet", text_column=column)


@pytest.mark.parametrize(
    ("record", "reason", "message"),
    [
        ({"doc": {"lang": "en"}}, "no_column", "no column 'doc.text': no 'text'; 'doc' has 'lang'"),
        ({"doc": {}}, "no_column", "no column 'doc.text': no 'text'; 'doc' is empty"),
        ({"dok": 1}, "no_column", "no column 'doc.text': no 'doc'; the record has 'dok'"),
        ({"doc": "text"}, "no_column", "no column 'doc.text': 'doc' is str, which has no fields"),
        (
            {"doc": [{"text": "a"}]},
            "no_column",
            "no column 'doc.text': 'doc' is list; a path can't lead through a list",
        ),
        ({"doc": {"text": {}}}, "not_a_string", "column 'doc.text': expected a string, found dict"),
    ],
)
def test_a_path_that_leads_nowhere_in_json_is_an_error(tmp_path: Path, record: Any, reason: str, message: str) -> None:
    path = put(tmp_path / "a.jsonl", lines(record, {"doc": {"text": "good"}}))
    bad, good = rows_of(path, text_column="doc.text")
    assert (bad["reason"], good["text"]) == (reason, "good")
    assert bad["message"].startswith(message)


def test_csv_has_no_records_in_its_columns(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "doc,n\ntext,1\n")
    (row,) = rows_of(path, text_column="doc.text")
    assert row["message"] == "no column 'doc.text': 'doc' is str, which has no fields"


def test_a_name_that_is_there_twice_counts_on_the_way_only(tmp_path: Path) -> None:
    good = '{"doc": {"text": "a", "n": 1, "n": 2}, "m": 1, "m": 2}\n'
    bad = '{"doc": {"text": "a", "text": "b"}}\n{"doc": {}, "doc": {"text": "b"}}\n'
    path = put(tmp_path / "a.jsonl", good + bad)
    assert problems_of(path, text_column="doc.text") == [None, "repeated_name", "repeated_name"]
    assert "the record has 'doc.text' more than once" in rows_of(path, text_column="doc.text")[1]["message"]


def test_an_id_inside_another_column_is_exact(tmp_path: Path) -> None:
    digits = "0.12345678901234567890123"
    path = put(tmp_path / "a.jsonl", f'{{"meta": {{"key": {digits}, "other": {digits}}}, "text": "a"}}\n')
    assert [row["id"] for row in rows_of(path, id_column="meta.key")] == [digits]


def test_an_old_timestamp_inside_a_struct_identifies_as_it_does_outside(tmp_path: Path) -> None:
    moments = [datetime(9999, 12, 31, 23, 59, 59), datetime(1, 1, 1), None]
    structs = pa.array(
        [{"at": moment, "n": 1} for moment in moments], pa.struct([("at", pa.timestamp("us")), ("n", pa.int8())])
    )
    table = pa.table({"at": moments, "meta": structs, "text": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    inside, outside = (rows_of(tmp_path / "a.parquet", id_column=column) for column in ("meta.at", "at"))
    assert [row["id"] for row in inside] == [row["id"] for row in outside]
    assert inside[0]["id"] == "9999-12-31T23:59:59"


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_label_and_a_split_inside_another_column(tmp_path: Path, name: str) -> None:
    rows = [
        {"text": "a", "meta": {"topic": "x", "use": {"split": "train"}}},
        {"text": "b", "meta": {"topic": "y", "use": None}},
    ]
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        put(tmp_path / name, lines(*rows))
    settings = LabelledCorpusSettings(
        uris=(str(tmp_path / name),), label_column="meta.topic", split_column="meta.use.split"
    )
    assert [(d.text, d.label, d.split) for d in Labelled.open(STORAGE, settings)] == [
        ("a", "x", "train"),
        ("b", "y", None),
    ]


def test_a_label_whose_path_leads_through_a_list_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "tags": [[{"name": "x"}]]}), tmp_path / "a.parquet")
    settings = LabelledCorpusSettings(uris=(str(tmp_path),), label_column="tags.name")
    with pytest.raises(
        CorpusError, match=r"'tags.name' \(corpus.label_column\): 'tags' is list<.*can't lead through a list"
    ):
        Labelled.open(STORAGE, settings)


names = st.sampled_from(["a", "b", "a.b"])
records = st.recursive(st.none() | st.text(max_size=2), lambda inner: st.dictionaries(names, inner, max_size=3))


@given(
    record=st.dictionaries(names, records, max_size=3), column=st.lists(st.sampled_from("ab"), min_size=1, max_size=3)
)
def test_records_and_schemas_lead_to_the_same_column(record: dict[str, Any], column: list[str]) -> None:
    name = ".".join(column)
    schema = pa.Table.from_pylist([record]).schema
    of_record, of_schema = outcome(value_at, record, name), outcome(arrow_path, schema, name)
    if isinstance(of_schema, tuple):
        path, _ = of_schema
        assert functools.reduce(operator.getitem, path, record) == of_record
    else:
        assert of_record == of_schema


def outcome(find: Callable[[Any, str], Any], where: Any, name: str) -> Any:
    """What is found; of an error, whether something was not there."""
    try:
        return find(where, name)
    except ColumnPathError as error:
        return error.is_absent


def test_what_a_record_has_twice_is_an_error_of_its_own() -> None:
    record = Repeating(text="last")
    record.repeated = frozenset(("text",))
    with pytest.raises(ColumnPathError) as raised:
        value_at(record, "text")
    assert raised.value.reason == "repeated_name"
