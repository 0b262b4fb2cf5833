"""What the engines that are not here are given, parsed by sqlglot; dbt's file; the view of the newest snapshot."""

import shutil
from pathlib import Path

import duckdb
import pytest
import yaml
from sqlglot import exp, parse

from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots
from pipeline.warehouses.loads import Load, plan_load
from pipeline.warehouses.script import ENGINES, RUN_HERE, EngineName, script
from tests.warehouses.engines import COLUMNS, quoted
from tests.warehouses.tables import NAME, Published, expected_rows, first_night, published, second_night

PARSED: list[EngineName] = [engine for engine in ENGINES if engine not in (*RUN_HERE, "dbt")]
UNKNOWN = (
    "CREATE STAGE",
    "COMMIT TRANSACTION",
    "COPY ",
    "DROP EXTERNAL TABLE",
)  # statements that sqlglot takes as they are


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Published:
    table = published(tmp_path_factory.mktemp("table"))
    table.night(first_night())
    table.night(second_night())
    return table


def text(load: Load, engine: EngineName) -> str:
    return "".join(script(load, engine))


@pytest.mark.parametrize("engine", PARSED)
@pytest.mark.parametrize("since", [None, 1])
def test_statements_for_other_engines_are_parsed_and_marked(table: Published, engine: EngineName, since: int | None):
    load = plan_load(table.snapshots, since)
    statements = text(load, engine)
    assert "-- not run here: " in statements
    # one by one, as Athena takes them: its DDL is another language than its queries
    parsed = [one for part in statements.split(";\n") for one in parse(part, dialect=engine) if one is not None]
    commands = [one.sql(dialect=engine) for one in parsed if isinstance(one, exp.Command)]
    assert not [command for command in commands if not command.upper().startswith(UNKNOWN)]
    merges = [one for one in parsed if isinstance(one, exp.Merge)]
    assert len(merges) == (since is not None)
    for merge in merges:
        actions = [when.args["then"] for when in merge.args["whens"].expressions]
        assert [action.sql()[:6] for action in actions] == ["DELETE", "UPDATE", "INSERT"]
    columns = load.columns.names
    (target,) = [
        one
        for one in parsed
        if isinstance(one, exp.Create) and isinstance(one.this, exp.Schema) and one.this.this.name == NAME
    ]
    assert [column.name for column in target.this.expressions if isinstance(column, exp.ColumnDef)] == columns
    for file in [*load.added, *load.removed]:
        assert file.path.rpartition("/")[2] in statements
    assert f"count(*) = {load.rows} " in statements
    assert f" = {load.digest}\n" in statements


@pytest.mark.parametrize("engine", ENGINES)
def test_the_heading_says_what_it_is_and_how_to_run_it(table: Published, engine: EngineName):
    load = plan_load(table.snapshots)
    lines = text(load, engine).splitlines()
    comment = "# " if engine == "dbt" else "-- "
    assert lines[0] == f"{comment}Rookery, for {engine}: snapshot 2 of {load.table_uri}: {load.rows:,} predictions"
    assert lines[1].startswith(comment)
    assert not lines[len([line for line in lines if line.startswith(comment)])].startswith(comment)


def test_dbt_knows_columns_their_meaning_and_what_must_hold(table: Published):
    load = plan_load(table.snapshots)
    (source,) = yaml.safe_load(text(load, "dbt"))["sources"]
    (described,) = source["tables"]
    columns = {column["name"]: column for column in described["columns"]}
    assert described["name"] == NAME
    assert list(columns) == load.columns.names
    assert columns["id"]["data_tests"] == ["not_null", "unique"]
    assert columns["scores"]["data_type"].startswith("ARRAY<STRUCT<")
    assert "data_tests" not in columns["label"]
    assert columns["n_tokens"]["description"] == "tokens of the document, without [CLS] and [SEP]"


def test_the_view_is_of_the_newest_snapshot_each_time(tmp_path: Path):
    table = published(tmp_path)
    table.night(first_night())
    view = text(plan_load(table.snapshots), "duckdb-view")
    with duckdb.connect() as database:
        database.execute(view)
        query = f"SELECT {COLUMNS} FROM {quoted(NAME)} ORDER BY id"
        assert database.execute(query).fetchall() == expected_rows(table, 1, COLUMNS)
        table.night(second_night())
        stray = next((table.folder / "data").rglob("*.parquet"))
        shutil.copy(stray, stray.with_name("part-0009-0123456789abcdef.parquet"))  # which no manifest names
        database.execute(view)
        assert database.execute(query).fetchall() == expected_rows(table, 2, COLUMNS)


@pytest.mark.parametrize("engine", ["duckdb", "duckdb-view", "clickhouse"])
def test_a_name_that_is_a_pattern_is_refused(table: Published, tmp_path: Path, engine: EngineName):
    folder = shutil.copytree(table.folder, tmp_path / "topics [new]")
    with pytest.raises(ConfigError, match="for patterns"):
        text(plan_load(Snapshots(Storage(), str(folder))), engine)
