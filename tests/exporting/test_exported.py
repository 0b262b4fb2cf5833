"""Exports read back by pandas, polars, DuckDB, pyarrow and Python's csv, equal to the table's files."""

import csv
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from pipeline.errors import ConfigError, RookeryError, StorageError
from pipeline.exporting import exported
from pipeline.exporting.exported import Exported, Target, export_snapshot
from pipeline.exporting.file_formats import form_of
from pipeline.exporting.selection import Selection
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Manifest, Snapshots
from tests.reviewable import Document, publish_corpus
from tests.s3 import S3Server

Published = tuple[Snapshots, Manifest]
FORMULA = '=HYPERLINK("http://x.example","y")'
SECRET = "the text of the corpus"


def documents(name: str, count: int, **others: tuple[float, float, float]) -> list[Document]:
    made = [Document(f"{name}-{n:03d}", f"{SECRET} {name} {n}", (n % 5 / 3, n % 3 / 7, 0.1)) for n in range(count)]
    return made + [Document(id_, f"{SECRET} {id_}", logits) for id_, logits in others.items()]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("export")
    odd = [Document(FORMULA, f"{SECRET} 1", (1.0, 0.0, 0.0)), Document('a "b",\r\nc', f"{SECRET} 2", (0.0, 1.0, 0.0))]
    return publish_corpus(folder, {"a": documents("a", 40), "b, c": documents("b", 7) + odd})


def rows_of(table: Published) -> list[dict[str, Any]]:
    """What DuckDB reads of the manifest's files, in their order."""
    snapshots, manifest = table
    rows = []
    for file in manifest.files:
        for row in pq.ParquetFile(snapshots.uri(file.path)).read().to_pylist():
            rows.append(row | file.partition)
    return rows


def put(table: Published, to: Path | str, selection: Selection = Selection(), **target: Any) -> Exported:  # noqa: B008
    form = form_of(str(to), target.pop("format", None), formulas=target.pop("formulas", False), bom=False)
    return export_snapshot(*table, selection, Target(str(to), form, **target))


def test_csv_read_back_by_four_readers(table: Published, tmp_path: Path):
    put(table, tmp_path / "a.csv", formulas=True)
    rows = rows_of(table)
    scores = [json.loads(json.dumps(row["scores"])) for row in rows]
    flat = [{name: value for name, value in row.items() if name != "scores"} for row in rows]
    frames = {
        "pandas": pd.read_csv(tmp_path / "a.csv").to_dict("records"),
        "polars": pl.read_csv(tmp_path / "a.csv").to_dicts(),
        "duckdb": duckdb.read_csv(str(tmp_path / "a.csv")).to_arrow_table().to_pylist(),
    }
    for reader, read in frames.items():
        assert [json.loads(row.pop("scores")) for row in read] == scores, reader
        assert read == flat, reader
    with (tmp_path / "a.csv").open(newline="") as file:
        strings = list(csv.DictReader(file))
    assert [(row["id"], float(row["score"])) for row in strings] == [(row["id"], row["score"]) for row in rows]


def test_no_cell_of_a_csv_file_begins_a_formula(table: Published, tmp_path: Path):
    put(table, tmp_path / "a.csv", Selection(columns="id, -score AS minus, '@x' AS \"=at\""))
    with (tmp_path / "a.csv").open(newline="") as file:
        header, *cells = csv.reader(file)
    assert header == ["id", "minus", "'=at"]
    assert f"'{FORMULA}" in {row[0] for row in cells}
    assert {row[2] for row in cells} == {"'@x"}
    assert [float(row[1]) for row in cells] == [-row["score"] for row in rows_of(table)]  # a number is no formula


@hypothesis_settings(max_examples=20)
@given(cell=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_is_safe_and_comes_back(table: Published, cell: str):
    literal = cell.replace("'", "''")
    file = io.BytesIO()
    selection = Selection(columns=f"'{literal}' AS cell", where="id = 'a-000'")
    export_snapshot(*table, selection, Target("-", form_of("-", "csv", formulas=False, bom=False), file=file))
    _, (read,) = csv.reader(io.StringIO(file.getvalue().decode(), newline=""))
    starts = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
    assert read == (f"'{cell}" if cell.startswith(starts) else cell)


def test_null_and_empty_differ_and_floats_are_exact(table: Published, tmp_path: Path):
    columns = "NULL::VARCHAR AS nothing, '' AS empty, 0.1::FLOAT AS f, 1e-300 AS tiny, 0.1 + 0.2e0 AS sum"
    put(table, tmp_path / "a.csv", Selection(columns=columns, where="id = 'a-000'"))
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == ',"",0.1,1e-300,0.30000000000000004'
    rows = duckdb.sql(f"FROM read_csv('{tmp_path}/a.csv', allow_quoted_nulls = false)").fetchall()
    assert rows == [(None, "", 0.1, 1e-300, 0.1 + 0.2)]
    assert pl.read_csv(tmp_path / "a.csv").rows() == [(None, "", 0.1, 1e-300, 0.1 + 0.2)]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.zst", "arrow", "parquet"])
def test_the_other_formats_hold_the_same_rows(table: Published, tmp_path: Path, ending: str):
    path = tmp_path / f"a.{ending}"
    written = put(table, path)
    rows = rows_of(table)
    readers: dict[str, Any] = {
        "jsonl": lambda: [json.loads(line) for line in path.read_text().splitlines()],
        "jsonl.gz": lambda: [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()],
        "jsonl.zst": lambda: duckdb.sql(f"FROM read_json('{path}')").to_arrow_table().to_pylist(),
        "arrow": lambda: feather.read_table(path).to_pylist(),
        "parquet": lambda: pq.ParquetFile(path).read().to_pylist(),
    }
    assert readers[ending]() == rows
    if ending in ("arrow", "parquet"):
        polars = pl.read_ipc(path) if ending == "arrow" else pl.read_parquet(path)
        assert polars.to_dicts() == rows
        schema = feather.read_table(path).schema if ending == "arrow" else pq.read_schema(path)
        assert schema.metadata[b"rookery.snapshot"] == b"1"
    assert [file.bytes for file in written.files] == [path.stat().st_size]


def test_times_and_bytes_as_text(table: Published, tmp_path: Path):
    columns = (
        "TIMESTAMPTZ '2024-02-03 04:05:06.7+01' AS zoned, [{'at': TIMESTAMP '2024-02-03 04:05:06'}] AS nested, "
        "'\\x00\\xFF'::BLOB AS bytes, 'nan'::DOUBLE AS n, DATE '2024-02-03' AS day"
    )
    expected = {
        "zoned": "2024-02-03T03:05:06.700000Z",
        "nested": [{"at": "2024-02-03T04:05:06.000000"}],
        "bytes": "AP8=",
        "n": None,
        "day": "2024-02-03",
    }
    for ending in ("jsonl", "csv"):
        put(table, tmp_path / f"a.{ending}", Selection(columns=columns, where="id = 'a-000'"))
    assert json.loads((tmp_path / "a.jsonl").read_text()) == expected
    with (tmp_path / "a.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row | {"nested": json.loads(row["nested"])} == expected | {"n": "nan"}


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
def test_equal_exports_are_equal_bytes(table: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str):
    monkeypatch.setattr(exported, "TABLE_ROWS", 16)
    for name in ("one", "two"):
        put(table, tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
    assert len(rows_of(table)) > 2 * 16


def test_a_filter_and_columns_as_duckdb_has_them(table: Published, tmp_path: Path):
    where = "label = 'cat' and score < 0.4 and part = 'a'"
    put(table, tmp_path / "a.parquet", Selection(columns="id, round(score, 2) AS score", where=where))
    rows = [row for row in rows_of(table) if row["label"] == "cat" and row["score"] < 0.4 and row["part"] == "a"]
    assert rows
    read = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["id"] for row in read] == [row["id"] for row in rows]
    assert {tuple(row) for row in read} == {("id", "score")}


def test_a_filter_that_nothing_fits_gives_columns_without_rows(table: Published, tmp_path: Path):
    for ending in ("csv", "jsonl", "arrow", "parquet"):
        put(table, tmp_path / f"a.{ending}", Selection(columns="id, scores", where="false"))
    assert (tmp_path / "a.csv").read_text() == '"id","scores"\n'
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    assert pq.read_table(tmp_path / "a.parquet").shape == feather.read_table(tmp_path / "a.arrow").shape == (0, 2)


HOSTILE = [
    "id = (SELECT content FROM read_text('/etc/passwd'))",
    "EXISTS (FROM '/etc/passwd')",
    "EXISTS (FROM read_csv('/etc/passwd'))",
    "true); COPY (SELECT 1) TO '/tmp/rookery-hostile'; SELECT (true",
    "EXISTS (FROM table)",  # a variable of this module
    "id = getenv('HOME')",
]


@pytest.mark.parametrize("where", HOSTILE)
def test_a_filter_reads_and_writes_nothing_else(table: Published, tmp_path: Path, where: str):
    with pytest.raises(ConfigError, match="--where"):
        put(table, tmp_path / "a.csv", Selection(where=where))
    with pytest.raises(ConfigError, match="--columns"):
        put(table, tmp_path / "a.csv", Selection(columns=f"({where}) AS x"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said(table: Published, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no column 'labell'; did you mean 'label'\? The table has id, source_uri"):
        put(table, tmp_path / "a.csv", Selection(where="labell = 'cat'"))
    with pytest.raises(ConfigError, match="DuckDB says of a row: Could not convert string"):
        put(table, tmp_path / "a.csv", Selection(where="id::INT > 3"))
    with pytest.raises(ConfigError, match="'ID' twice, in any case"):
        put(table, tmp_path / "a.csv", Selection(columns='score AS "ID", id'))
    with pytest.raises(ConfigError, match="its ending names no format"):
        put(table, tmp_path / "a.txt")
    with pytest.raises(ConfigError, match="parquet is compressed inside its file"):
        put(table, tmp_path / "a.parquet.gz")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_the_manifest_does_not_count_put_nothing(table: Published, tmp_path: Path):
    snapshots, manifest = table
    few = replace(manifest, counts=manifest.counts | {"predictions": 3})
    with pytest.raises(RookeryError, match="49 rows were read, and its manifest says 3; nothing was put"):
        put((snapshots, few), tmp_path / "a.csv")
    gone = replace(manifest, files=[replace(manifest.files[0], path="data/gone.parquet"), *manifest.files[1:]])
    with pytest.raises(StorageError, match=r"can't be read .*; run again"):
        put((snapshots, gone), tmp_path / "a.csv", Selection(where="true"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_when_asked(table: Published, tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there already; give --overwrite"):
        put(table, path)
    with pytest.raises(ConfigError, match="Could not convert"):
        put(table, path, Selection(where="id::INT > 3"), overwrite=True)
    assert path.read_text() == "mine"
    put(table, path, overwrite=True)
    assert path.read_text().startswith('"id"')
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_parts(table: Published, tmp_path: Path):
    folder = tmp_path / "parts"
    put(table, f"{folder}/", format="jsonl", part_rows=20)
    marker = json.loads((folder / "_export.json").read_text())
    assert [file["rows"] for file in marker["files"]] == [20, 20, 9]
    assert (marker["snapshot"], marker["rows"]) == (1, 49)
    lines = [(folder / file["name"]).read_text() for file in marker["files"]]
    put(table, tmp_path / "a.jsonl")
    assert "".join(lines) == (tmp_path / "a.jsonl").read_text()
    with pytest.raises(ConfigError, match="is there already"):
        put(table, f"{folder}/", format="csv")
    put(table, f"{folder}/", format="csv", overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["_export.json", "part-00000.csv"]


def test_parts_without_a_marker_are_no_export(table: Published, tmp_path: Path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("part-00000.csv", "part-00007.csv"):
        (folder / name).write_text("of a run that was ended")
    put(table, f"{folder}/", format="csv")
    assert sorted(path.name for path in folder.iterdir()) == ["_export.json", "part-00000.csv"]
    (folder / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"holds 'mine.txt', which is no export's"):
        put(table, f"{folder}/", format="csv", overwrite=True)


def test_a_run_that_fails_between_parts_leaves_no_marker(table: Published, tmp_path: Path):
    folder = tmp_path / "parts"
    put(table, f"{folder}/", format="csv")
    bad = Selection(where="id <> 'a-030' OR error('no')")
    with pytest.raises(ConfigError, match="DuckDB says of a row"):
        put(table, f"{folder}/", bad, format="csv", part_rows=10, overwrite=True)
    assert not (folder / "_export.json").exists()


@pytest.mark.s3
def test_on_s3_too(table: Published, s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    bucket = s3.new_bucket()
    put(table, f"s3://{bucket}/x/a.parquet")
    put(table, f"s3://{bucket}/x/parts/", format="csv", part_rows=30)
    with s3.filesystem().open(f"{bucket}/x/a.parquet") as file:
        assert pq.read_table(file).to_pylist() == rows_of(table)
    assert len(Storage().find(f"s3://{bucket}/x/parts/")) == 3
    with pytest.raises(ConfigError, match="is there already"):
        put(table, f"s3://{bucket}/x/a.parquet")
    with pytest.raises(ConfigError, match="Could not convert"):
        put(table, f"s3://{bucket}/x/b.csv", Selection(where="id::INT > 3"))
    assert len(Storage().find(f"s3://{bucket}/x/")) == 4


def test_without_text_no_byte_of_it_leaves(table: Published, tmp_path: Path):
    for ending in ("csv", "jsonl", "arrow", "parquet"):
        put(table, tmp_path / f"a.{ending}")
    put(table, f"{tmp_path}/parts/", format="arrow")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_with_text(table: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.exporting.text_join.JOINED_BYTES", 100)
    put(table, tmp_path / "a.jsonl", Selection(columns="id, label", with_source=True))
    read = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    corpus = pa.concat_tables(
        pq.ParquetFile(path).read() for path in sorted((Path(table[0].table_uri).parent / "corpus").rglob("*.parquet"))
    )
    assert [(row["id"], row["text"]) for row in read] == [(row["id"], row["text"]) for row in corpus.to_pylist()]
    assert {tuple(row) for row in read} == {("id", "label", "text")}
    with pytest.raises(ConfigError, match="has a column 'Text' already"):
        put(table, tmp_path / "b.jsonl", Selection(columns='id AS "Text"', with_source=True))


def test_a_text_that_changed_is_never_joined(tmp_path: Path):
    table = publish_corpus(tmp_path, {"a": documents("a", 5), "b": documents("b", 2)})
    corpus = tmp_path / "corpus"
    pq.write_table(
        pa.table({"id": ["a-000", "a-001"], "text": [f"{SECRET} a 0", "another"]}), corpus / "part=a/a.parquet"
    )
    (corpus / "part=b/a.parquet").unlink()
    outcome = put(table, tmp_path / "a.jsonl", Selection(columns="id", with_source=True))
    texts = [json.loads(line)["text"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert texts == [f"{SECRET} a 0", *[None] * 6]
    assert outcome.texts_missing == 6
