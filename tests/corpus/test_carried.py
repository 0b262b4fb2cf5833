"""Columns of the corpus go into predictions and errors as others read them, and cost no scoring when they change."""

import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.labelled_table import run_record
from jobs.sample import CHECKPOINT
from pipeline.config.label import parse_job
from pipeline.errors import ConfigError, CorpusError
from pipeline.planning.plan import Plan, make_plan
from pipeline.runs.unit_done import UnitDone
from pipeline.tables.predictions import open_errors, open_predictions
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Manifest
from tests.labelling import label_here

ZONE = dt.timezone(dt.timedelta(hours=2))
NIGHTS = iter(range(1, 10**9))
NAMES = ["url", "published_at", "local", "price", "lang", "tags", "meta", "n", "day"]
COLUMNS: dict[str, pa.Array] = {
    "url": pa.array(["https://a", None, "https://ü/👩", ""]),
    "published_at": pa.array([dt.datetime(2024, 2, 29, 23, 30, tzinfo=ZONE), None, dt.datetime(1, 1, 1, tzinfo=ZONE) + dt.timedelta(days=9), dt.datetime(2024, 3, 1, 1, 30, tzinfo=ZONE)], pa.timestamp("ms", "+02:00")),
    "local": pa.array([dt.datetime(2024, 5, 1, 12), None, dt.datetime(9999, 12, 31), dt.datetime(1600, 1, 1)], pa.timestamp("us")),
    "price": pa.array([Decimal("12345678901234567890.123"), Decimal("-0.001"), None, Decimal(0)], pa.decimal128(38, 3)),
    "lang": pa.array(["de", "en", None, "de"]).dictionary_encode(),
    "tags": pa.array([["a", None], [], None, ["b"]], pa.large_list(pa.large_string())),
    "meta": pa.array([{"k": 1, "at": None}, None, {"k": None, "at": dt.date(2024, 1, 2)}, {"k": -5, "at": dt.date(1, 1, 1)}], pa.struct([("k", pa.int16()), ("at", pa.date32())])),
    "n": pa.array([0, 2**63 - 1, None, 7], pa.uint64()),
    "day": pa.array([dt.date(2024, 2, 29), None, dt.date(2024, 3, 1), dt.date(2024, 3, 1)], pa.date32()),
}  # fmt: skip


def documents() -> pa.Table:
    texts = ["a proposal for a module", "another proposal, of types", None, "the last one of them"]
    return pa.table({"id": [f"doc-{n}" for n in range(4)], "text": texts, **COLUMNS})


def write(folder: Path, table: pa.Table, name: str = "a.parquet") -> None:
    (folder / "corpus").mkdir(exist_ok=True)
    path = folder / "corpus" / name
    if name.endswith(".parquet"):
        pq.write_table(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    os.utime(path, (next(NIGHTS),) * 2)


def plan(folder: Path, *overrides: str, columns: Sequence[str] = NAMES) -> Plan:
    job = [f"corpus.uris={folder}/corpus", f"checkpoint.uri={CHECKPOINT}", f"table.uri={folder}/table"]
    job += ["corpus.id_column=id", "compute.dtype=fp32", "max_errors=100%", f"corpus.columns=[{', '.join(columns)}]"]
    return make_plan(parse_job("", [*job, *overrides])).cut_streams()


def label(folder: Path, *overrides: str, columns: Sequence[str] = NAMES) -> tuple[list[UnitDone], Plan, Manifest]:
    planned = plan(folder, *overrides, columns=columns)
    units = label_here(planned)
    planned = planned.cut_streams()
    record = run_record(planned.job, planned.publication.content, 0.0)
    return units, planned, publish(planned.snapshots, planned.fragments, planned.publication, record)


def computed(units: list[UnitDone]) -> int:
    return sum(unit.documents - unit.taken_over - unit.errors for unit in units)


def rows(planned: Plan, manifest: Manifest) -> pa.Table:
    """Predictions and errors, in the order of their ids."""
    tables = [open_(planned.snapshots, manifest).to_table() for open_ in (open_predictions, open_errors)]
    return pa.concat_tables(tables, promote_options="default").sort_by("id")


def files(folder: Path, manifest: Manifest, kind: str = "data") -> list[str]:
    return [f"{folder}/table/{file.path}" for file in manifest.files if file.kind == kind]


def test_types_and_values_arrive(tmp_path: Path):
    write(tmp_path, documents())
    _, planned, manifest = label(tmp_path)
    table = rows(planned, manifest)
    types = {name: str(table.schema.field(name).type) for name in NAMES}
    assert types == {
        "url": "string",
        "published_at": "timestamp[us, tz=UTC]",
        "local": "timestamp[us]",
        "price": "decimal128(38, 3)",
        "lang": "string",
        "tags": "list<element: string>",
        "meta": "struct<k: int32, at: date32[day]>",
        "n": "int64",
        "day": "date32[day]",
    }
    for name in NAMES:
        values = COLUMNS[name].dictionary_decode() if name == "lang" else COLUMNS[name]
        assert table[name].to_pylist() == values.to_pylist(), name
    described = {column["name"]: column["type"] for column in manifest.columns}
    assert {name: described[name] for name in ("url", "price", "n")} == {"url": "string", "price": "decimal128(38, 3)", "n": "int64"}  # fmt: skip
    assert [c["name"] for c in manifest.error_columns][-len(NAMES) :] == NAMES


def test_others_read_the_same(tmp_path: Path):
    """The error row of the null text is in another file: the predictions are rows 0, 1 and 3."""
    write(tmp_path, documents())
    _, planned, manifest = label(tmp_path)
    (file,) = files(tmp_path, manifest)
    expected = open_predictions(planned.snapshots, manifest).to_table().sort_by("id").select(NAMES).to_pylist()
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    names = ", ".join(NAMES)
    by_duckdb = connection.sql(f"SELECT {names} FROM read_parquet('{file}') ORDER BY id").to_arrow_table()
    assert by_duckdb.to_pylist() == expected
    by_polars = pl.read_parquet(file).sort("id").select(NAMES).to_dicts()
    assert by_polars == expected
    by_pandas = pd.read_parquet(file, dtype_backend="pyarrow").sort_values("id")[NAMES]
    assert pa.Table.from_pandas(by_pandas, preserve_index=False).to_pylist() == expected


def test_a_changed_value_or_another_column_costs_no_scoring(tmp_path: Path):
    write(tmp_path, documents())
    first, *_ = label(tmp_path)
    changed = documents().set_column(2, "url", pa.array(["https://new", "b", "c", "d"]))
    write(tmp_path, changed)
    second, planned, manifest = label(tmp_path)
    fewer, _, with_fewer = label(tmp_path, columns=["url"])
    assert (computed(first), computed(second), computed(fewer)) == (3, 0, 0)
    assert rows(planned, manifest)["url"].to_pylist() == ["https://new", "b", "c", "d"]
    assert manifest.changes is not None
    assert (manifest.changes.unchanged, manifest.changes.changed) == (4, 0)
    assert "price" not in {column["name"] for column in with_fewer.columns}
    again, _, same = label(tmp_path, columns=["url"])
    assert (again, same.snapshot) == ([], with_fewer.snapshot)


def test_json_and_csv_carry_what_they_hold(tmp_path: Path):
    held: list[dict[str, Any]] = [
        {"id": "a", "text": "one", "n": 1, "x": 1, "tags": ["a"], "at": "2024-05-01"},
        {"id": "b", "text": "two", "n": None, "x": 0.5, "tags": [], "meta": {"k": True}},
        {"id": "c", "text": "three", "n": 2, "x": 2, "tags": None, "meta": {}},
    ]
    write(tmp_path, pa.table({"id": []}), "z.jsonl")
    (tmp_path / "corpus" / "z.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    columns = ["n", "x", "tags", "at", "meta"]
    _, planned, manifest = label(tmp_path, columns=columns)
    table = rows(planned, manifest)
    assert [str(table.schema.field(name).type) for name in columns] == ["int64", "double", "list<element: string>", "string", "struct<k: bool>"]  # fmt: skip
    assert table.select(["n", "x", "tags", "at"]).to_pylist() == [{name: row.get(name) for name in ("n", "x", "tags", "at")} for row in held]  # fmt: skip
    assert table["meta"].to_pylist() == [None, {"k": True}, {"k": None}]
    (tmp_path / "corpus" / "z.jsonl").unlink()
    (tmp_path / "corpus" / "z.csv").write_text("id,text,n\na,one,1\nb,two,\n")
    _, planned, manifest = label(tmp_path, columns=["n"])
    assert rows(planned, manifest)["n"].to_pylist() == ["1", ""]


def test_a_value_that_does_not_fit_is_an_error_of_its_document(tmp_path: Path):
    lines = [{"id": f"{n:02}", "text": "one", "n": n, "url": f"u{n}"} for n in range(30)]
    lines[25]["n"] = "twenty-five"
    lines[26]["n"] = 2.5
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    _, planned, manifest = label(tmp_path, columns=["n", "url"])
    errors = open_errors(planned.snapshots, manifest).to_table().sort_by("id").to_pylist()
    assert [(row["id"], row["reason"], row["n"], row["url"]) for row in errors] == [("25", "wrong_type", None, "u25"), ("26", "wrong_type", None, "u26")]  # fmt: skip
    assert errors[0]["message"] == "column 'n' (corpus.columns): expected a value that fits int64"
    table = pa.table({"id": ["a", "b"], "text": ["one", "two"], "n": pa.array([2**63, 1], pa.uint64())})
    (tmp_path / "corpus" / "a.jsonl").unlink()
    write(tmp_path, table)
    _, planned, manifest = label(tmp_path, columns=["n"])
    assert [(row["id"], row["reason"], row["n"]) for row in rows(planned, manifest).to_pylist()] == [("a", "wrong_type", None), ("b", None, 1)]  # fmt: skip


def test_a_table_may_be_partitioned_by_columns_and_parts_of_dates(tmp_path: Path):
    write(tmp_path, documents().slice(0, 2), "part=x.parquet")
    (tmp_path / "corpus" / "part=x.parquet").unlink()
    for part, table in {"x": documents().slice(0, 2), "y": documents().slice(2)}.items():
        (tmp_path / "corpus" / f"part={part}").mkdir()
        write(tmp_path, table, f"part={part}/a.parquet")
    *_, manifest = label(tmp_path, "table.partition_by=[lang, part, month(published_at)]")
    partitions = {file.path.partition("/snapshot=")[2].partition("/")[2].rpartition("/")[0] for file in manifest.files}
    null = "__HIVE_DEFAULT_PARTITION__"
    assert partitions == {
        "lang=de/part=x/published_at_month=2024-02",
        f"lang=en/part=x/published_at_month={null}",
        f"lang={null}/part=y/published_at_month=0001-01",
        "lang=de/part=y/published_at_month=2024-02",
    }
    assert [(c["name"], c["type"]) for c in manifest.partition_columns] == [("lang", "string"), ("part", "string"), ("published_at_month", "string")]  # fmt: skip
    pattern = f"{tmp_path}/table/data/snapshot=*/**/*.parquet"
    asked = "SELECT id, lang, strftime(published_at AT TIME ZONE 'UTC', '%Y-%m'), published_at_month FROM read_parquet($1, hive_partitioning = true, hive_types_autocast = false) ORDER BY id"  # fmt: skip
    found = duckdb.execute(asked, [pattern]).fetchall()
    assert found == [("doc-0", "de", "2024-02", "2024-02"), ("doc-1", "en", None, None), ("doc-3", "de", "2024-02", "2024-02")]  # fmt: skip
    again, _, same = label(tmp_path, "table.partition_by=[lang, part, month(published_at)]")
    assert (again, same.snapshot) == ([], manifest.snapshot)
    write(tmp_path, documents().slice(2), "part=z.parquet")
    (tmp_path / "corpus" / "part=z.parquet").unlink()
    write(tmp_path, documents().slice(3), "part=y/b.parquet")
    _, _, more = label(tmp_path, "table.partition_by=[lang, part, month(published_at)]", "corpus.duplicate_ids=keep")
    kept = {file.path.partition("/lang=")[2] for file in more.files if file.state == "kept"}
    assert {path.split("/")[0] + path.split("/")[1] for path in kept} == {"depart=x", "enpart=x"}


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_column_may_lie_inside_another(tmp_path: Path, name: str):
    metas = [{"page": {"url": "u1"}, "day": "2024-05-01"}, {"page": None, "day": None}]
    write(tmp_path, pa.table({"id": ["a", "b"], "text": ["one", "two"], "meta": metas}), name)
    _, planned, manifest = label(
        tmp_path, "table.partition_by=[month(meta.day)]", columns=["meta.page.url", "meta.day"]
    )
    table = rows(planned, manifest)
    assert table["url"].to_pylist() == ["u1", None]
    assert table["day_month"].to_pylist() == ["2024-05", None]
    with pytest.raises(ConfigError, match=r"'meta\.url' can't be told from 'page\.url', another of corpus.columns"):
        plan(tmp_path, columns=["page.url", "meta.url"])


@pytest.mark.parametrize(
    ("columns", "overrides", "error", "message"),
    [
        (["nope"], [], CorpusError, r"corpus.columns 'nope': not one of 2 files has it, .*/a.parquet among them"),
        (["label"], [], ConfigError, "'label' can't be told from 'label', which is one of the columns of the table"),
        (["url", "URL"], [], ConfigError, "'URL' can't be told from 'url', another of corpus.columns"),
        (["both"], [], CorpusError, r"'both': int64 in .*/a.parquet, and string in .*/b.parquet; expected one type"),
        (["span"], [], CorpusError, r"'span': in .*/a.parquet duration\[s\] is no type that every warehouse has"),
        (["x"], ["table.partition_by=[x]"], CorpusError, "'x' is double; expected text, integers or dates"),
        (["x"], ["table.partition_by=[day(x)]"], CorpusError, "'x' is double; expected a timestamp, a date, or text"),
        ([], ["table.partition_by=[url]"], ConfigError, r"the corpus has no such hive key; .* among corpus.columns"),
        (["url"], ["table.partition_by=[month(nope)]"], ConfigError, r"'month\(nope\)': the corpus has no such"),
        (["url_day", "url"], ["table.partition_by=[day(url)]"], ConfigError, "'url_day' can't be told from 'url_day', which"),
    ],
)  # fmt: skip
def test_what_can_not_be_a_column_is_refused(
    tmp_path: Path, columns: list[str], overrides: list[str], error: type[Exception], message: str
):
    base: Mapping[str, Any] = {"id": ["a"], "text": ["t"], "x": [0.5], "url": ["u"], "url_day": ["d"], "label": ["l"]}
    write(tmp_path, pa.table({**base, "both": [1], "span": pa.array([1], pa.duration("s")), "URL": ["u"]}))
    write(tmp_path, pa.table({**base, "id": ["b"], "both": ["1"]}), "b.parquet")
    with pytest.raises(error, match=message):
        plan(tmp_path, *overrides, columns=columns)


def test_too_many_partitions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.tables.partitioning.MAX_PARTITIONS", 2)
    write(tmp_path, documents())
    with pytest.raises(CorpusError, match=r"\['url'\]: the corpus has 3 partitions or more; expected at most 2"):
        plan(tmp_path, "table.partition_by=[url]", columns=["url"])
    (tmp_path / "corpus" / "a.parquet").unlink()
    lines = [json.dumps({"id": str(n), "text": "t", "url": f"u{n}"}) for n in range(3)]
    (tmp_path / "corpus" / "a.jsonl").write_text("\n".join(lines))  # whose values are known when it is read
    with pytest.raises(CorpusError, match=r"\['url'\]: the corpus has 3 partitions or more; expected at most 2"):
        label(tmp_path, "table.partition_by=[url]", columns=["url"])
    assert not plan(tmp_path, columns=["url"]).snapshots.published()
