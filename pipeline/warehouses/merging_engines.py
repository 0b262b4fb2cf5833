"""What the engines of `merging_script` differ in: how files come into a table, and how a statement fails."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from pipeline.warehouses.dialect import Dialect
from pipeline.warehouses.loads import FileBatch
from pipeline.warehouses.words import Words

ALL_ROWS_ANEW = "DELETE FROM {table} WHERE TRUE;\nINSERT INTO {table} ({names}) SELECT {names} FROM {new};\n"
Read = Callable[[str, list[pa.Field], list[str], FileBatch], str]


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of a script that are an engine's own.

    `before`: statements that come first. `table(name, columns)`: what follows CREATE TABLE. `read(target, columns,
    constants, files)`: statements that bring columns of files, and constants after them, into a table. `refusal`: an
    expression that fails, with a text as its message. `replace`: statements that replace all rows.
    """

    before: str
    table: Callable[[str, list[pa.Field]], str]
    read: Read
    refusal: str
    replace: str = ALL_ROWS_ANEW
    begin: str = ""
    commit: str = ""


def engine_of(words: Words) -> Engine:
    """Gives the engine of a dialect."""
    match words.dialect.name:
        case "bigquery":
            return _bigquery(words)
        case "snowflake":
            return _snowflake(words)
        case "redshift":
            return _redshift(words)
        case "spark":
            return _spark(words)
        case "athena":
            return _athena(words)
    raise AssertionError(words.dialect.name)


def _table(dialect: Dialect, name: str, columns: list[pa.Field]) -> str:
    return f"{dialect.identifier(name)} (\n{dialect.columns(columns)}\n)"


def _selected(words: Words, columns: list[pa.Field], constants: list[str]) -> str:
    return ", ".join([words.dialect.names(columns), *constants])


def _bigquery(words: Words) -> Engine:
    dialect, files = words.dialect, words.dialect.identifier(f"{words.load.table}_rookery_files")

    def read(target: str, columns: list[pa.Field], constants: list[str], batch: FileBatch) -> str:
        uris = ",\n  ".join(map(dialect.text, batch.uris))
        return (
            f"CREATE OR REPLACE EXTERNAL TABLE {files}\nOPTIONS (format = 'PARQUET', enable_list_inference = true, "
            f"uris = [\n  {uris}\n]);\n"
            f"INSERT INTO {target}\nSELECT {_selected(words, columns, constants)} FROM {files};\n"
        )

    return Engine(
        before="",
        table=lambda name, columns: _table(dialect, name, columns),
        read=read,
        refusal="ERROR({})",
        begin="BEGIN TRANSACTION;\n",
        commit=f"COMMIT TRANSACTION;\nDROP EXTERNAL TABLE IF EXISTS {files};\n",
    )


def _snowflake(words: Words) -> Engine:
    load, dialect = words.load, words.dialect
    stage = dialect.identifier(f"{load.table}_rookery_stage")

    def read(target: str, columns: list[pa.Field], constants: list[str], batch: FileBatch) -> str:
        values = [f"$1:{dialect.identifier(field.name)}::{dialect.type(field.type)}" for field in columns]
        files = ",\n  ".join(dialect.text(uri.removeprefix(f"{load.table_uri}/")) for uri in batch.uris)
        return (
            f"COPY INTO {target}\nFROM (SELECT {', '.join([*values, *constants])} FROM @{stage})\n"
            f"FILES = (\n  {files}\n)\nFILE_FORMAT = (TYPE = PARQUET);\n"
        )

    url = dialect.text(f"{load.table_uri}/")
    return Engine(
        before=f"CREATE STAGE IF NOT EXISTS {stage} URL = {url} STORAGE_INTEGRATION = rookery;\n",
        table=lambda name, columns: _table(dialect, name, columns),
        read=read,
        refusal="CAST(({}) AS INT)",  # it has no function that fails; this one's message shows the text
        begin="BEGIN;\n",
        commit="COMMIT;\n",
    )


def _redshift(words: Words) -> Engine:
    dialect, name = words.dialect, f"{words.load.table}_rookery_files"
    files = dialect.identifier(name)

    def read(target: str, columns: list[pa.Field], constants: list[str], batch: FileBatch) -> str:
        # each by its whole name, a prefix that no other file has: a manifest's rows would not say their partition
        copies = [
            f"COPY {files} FROM {dialect.text(uri)} IAM_ROLE DEFAULT FORMAT AS PARQUET SERIALIZETOJSON;\n"
            for uri in batch.uris
        ]
        insert = f"INSERT INTO {target}\nSELECT {_selected(words, columns, constants)} FROM {files};\n"
        return f"DELETE FROM {files};\n{''.join(copies)}{insert}"

    return Engine(
        before=f"DROP TABLE IF EXISTS {files};\nCREATE TABLE {_table(dialect, name, words.load.body)};\n",
        table=lambda name, columns: _table(dialect, name, columns),
        read=read,
        refusal="CAST(({}) AS INT)",
        begin="BEGIN;\n",
        commit=f"COMMIT;\nDROP TABLE {files};\n",
    )


def _spark(words: Words) -> Engine:
    dialect = words.dialect

    def read(target: str, columns: list[pa.Field], constants: list[str], batch: FileBatch) -> str:
        selected = _selected(words, columns, constants)
        selects = [f"SELECT {selected} FROM parquet.{dialect.identifier(uri)}" for uri in batch.uris]
        return f"INSERT INTO {target}\n" + "\nUNION ALL ".join(selects) + ";\n"

    return Engine(
        before="",
        table=lambda name, columns: f"{_table(dialect, name, columns)} USING iceberg",
        read=read,
        refusal="raise_error({})",
        replace="INSERT OVERWRITE {table} ({names}) SELECT {names} FROM {new};\n",
    )


def _athena(words: Words) -> Engine:
    load, text, hive = words.load, words.dialect.text, Dialect("hive")  # Hive's is the language of Athena's DDL
    numbers = {load.manifest.snapshot, *([load.since.snapshot] if load.since else [])}
    folders = {f"{load.table_uri}/{load.snapshots.folder('data', number)}": number for number in sorted(numbers)}

    def files(number: int) -> str:
        return f"{load.table}_rookery_files_{number}"

    def read(target: str, columns: list[pa.Field], constants: list[str], batch: FileBatch) -> str:
        (number,) = (folders[folder] for folder in folders if batch.uris[0].startswith(folder))
        paths = ",\n  ".join(map(text, batch.uris))
        return (
            f"INSERT INTO {target}\nSELECT {_selected(words, columns, constants)}\n"
            f'FROM {words.dialect.identifier(files(number))} WHERE "$path" IN (\n  {paths}\n);\n'
        )

    def table(name: str, columns: list[pa.Field]) -> str:
        place = text(f"{load.table_uri}-athena/{name}/")
        return f"{_table(hive, name, columns)}\nLOCATION {place} TBLPROPERTIES ('table_type' = 'ICEBERG')"

    drops = "".join(words.dropped(files(number)) for number in folders.values())
    external = "".join(
        f"CREATE EXTERNAL TABLE {_table(hive, files(number), load.body)}\nSTORED AS PARQUET LOCATION {text(folder)};\n"
        for folder, number in folders.items()
    )
    return Engine(
        before=drops + external,
        table=table,
        read=read,
        refusal="CAST(CAST({} AS INTEGER) AS VARCHAR)",
        commit=drops,
    )
