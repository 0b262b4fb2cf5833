"""`rookery sql`: which engine gets which statements, and what is said above them."""

from collections.abc import Iterator
from typing import Literal, get_args

from pipeline.warehouses.clickhouse_script import clickhouse_script
from pipeline.warehouses.dbt_sources import dbt_sources
from pipeline.warehouses.dialect import Dialect
from pipeline.warehouses.duckdb_script import duckdb_script, duckdb_view
from pipeline.warehouses.loads import Load
from pipeline.warehouses.merging_script import merging_script
from pipeline.warehouses.postgres_script import postgres_script
from pipeline.warehouses.words import Words

EngineName = Literal[
    "duckdb",
    "duckdb-view",
    "clickhouse",
    "postgres",
    "bigquery",
    "snowflake",
    "athena",
    "spark",
    "redshift",
    "dbt",
]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
RUN_HERE = ("duckdb", "duckdb-view", "clickhouse", "postgres")
S3_IN_DUCKDB = "files on S3 need httpfs and CREATE SECRET (TYPE s3, PROVIDER credential_chain), once"
NOTES: dict[EngineName, tuple[str, ...]] = {
    "duckdb": ("run it with: duckdb -bail warehouse.duckdb", S3_IN_DUCKDB),
    "duckdb-view": (
        "run it with: duckdb -init FILE; each time it is run, the view is of the newest snapshot there is",
        S3_IN_DUCKDB,
    ),
    "clickhouse": (
        "run it with: clickhouse-client --multiquery, or clickhouse-local --path FOLDER",
        "the server reads the files, with its own credentials; the database must be of the engine Atomic, as most are",
    ),
    "postgres": ("run it with: psql; the rows are in it, so that psql needs nothing else",),
    "bigquery": ("run it as one script: bq query --use_legacy_sql=false --dataset_id=DATASET",),
    "snowflake": (
        "run it with: snowsql -o exit_on_error=true",
        "it needs a storage integration called rookery, or its stage made beforehand",
    ),
    "athena": (
        "run its statements one by one, as Athena takes them",
        "there are no transactions: the check comes last, and shows what it can't undo; then load the whole snapshot",
    ),
    "spark": (
        "run it with: spark-sql, its default catalog being one of Iceberg tables",
        "there are no transactions: the check comes last, and shows what it can't undo; then load the whole snapshot",
    ),
    "redshift": ("run it with: psql -v ON_ERROR_STOP=1; COPY reads by the cluster's default IAM role",),
    "dbt": ("a source file for dbt, 1.8 or newer: models/sources.yml",),
}


def script(load: Load, engine: EngineName) -> Iterator[str]:
    """Gives, a piece at a time, what brings a table of an engine to a snapshot and checks it.

    Raises ConfigError where the engine can't read a file of that name, StorageError.
    """
    yield _heading(load, engine)
    words = Words(load, Dialect(engine.partition("-")[0]))
    match engine:
        case "duckdb":
            yield from duckdb_script(words)
        case "duckdb-view":
            yield from duckdb_view(words)
        case "clickhouse":
            yield from clickhouse_script(words)
        case "postgres":
            yield from postgres_script(words)
        case "dbt":
            yield dbt_sources(load)
        case _:
            yield from merging_script(words)


def _heading(load: Load, engine: EngineName) -> str:
    comment = "#" if engine == "dbt" else "--"
    what = f"snapshot {load.manifest.snapshot} of {load.table_uri}: {load.rows:,} predictions"
    if load.since:
        what += f"; what has changed since snapshot {load.since.snapshot}, which the table must hold"
        what += f"; of its files {len(load.removed):,} go, and {len(load.added):,} come"
    lines = [f"Rookery, for {engine}: {what}", *NOTES[engine]]
    if engine not in (*RUN_HERE, "dbt"):
        lines.append("not run here: this follows the engine's documentation, and Rookery's tests have only parsed it")
    return "".join(f"{comment} {line}\n" for text in lines for line in text.splitlines())
