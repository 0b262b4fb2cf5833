r"""PostgreSQL, which reads no Parquet: the rows themselves, between COPY and `\.`, as pg_dump writes them.

So neither the server nor whoever pipes this into psql needs anything else. One transaction: where the statements end
early, psql ends without COMMIT, and nothing has changed. Rows are read, and written, a stretch at a time.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.tables.snapshots import SnapshotFile
from pipeline.warehouses.dialect import is_list_of_numbers
from pipeline.warehouses.words import Words

ROWS_TOGETHER = 8192
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}  # of COPY's text format, in this order
NULL = "\\N"


def postgres_script(words: Words) -> Iterator[str]:
    """Gives the statements, and the rows, that load a snapshot or a difference."""
    table, gone, load = words.table, words.gone, words.load
    yield (
        "\\set ON_ERROR_STOP on\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\nBEGIN;\n"
        f"CREATE TABLE IF NOT EXISTS {table} (\n{words.definitions}\n);\n"
        f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;\n"
    )
    if load.since is None:
        yield f"DELETE FROM {table};\n"
    else:
        yield f"CREATE TEMPORARY TABLE {gone} ({words.id} TEXT NOT NULL) ON COMMIT DROP;\n"
        ids = load.columns.field("id")
        yield from _copied(words, gone, [ids], [], [*load.removed, *load.added])
        yield f"DELETE FROM {table} WHERE {words.id} IN (SELECT {words.id} FROM {gone});\n"
    yield from _copied(words, table, load.body, load.partitions, load.added)
    yield (
        "DO $rookery$\nDECLARE found_rows bigint; found_digest numeric;\nBEGIN\n"
        f"  SELECT count(*), coalesce({words.dialect.digest()}, 0) INTO found_rows, found_digest FROM {table};\n"
        f"  IF found_rows <> {load.rows} OR found_digest <> {load.digest} THEN\n"
        f"    RAISE EXCEPTION USING MESSAGE = {words.dialect.text(words.expected + ', found ')}\n"
        "      || found_rows || ' with digest ' || found_digest;\n"
        "  END IF;\nEND $rookery$;\nCOMMIT;\n"
    )


def _copied(
    words: Words, target: str, columns: list[pa.Field], partitions: list[pa.Field], files: Iterable[SnapshotFile]
) -> Iterator[str]:
    """Gives COPY and the rows of files that it takes."""
    import duckdb  # a tenth of a second, for those who need it

    snapshots = words.load.snapshots
    yield f"COPY {target} ({words.dialect.names([*columns, *partitions])}) FROM stdin;\n"
    with duckdb.connect() as database:
        for file in files:
            constants = [_constant(file.partition[field.name]) for field in partitions]
            line = " || chr(9) || ".join([*map(_value, columns), *constants])
            parquet = pq.ParquetFile(pa.BufferReader(snapshots.storage.read(snapshots.uri(file.path))))
            for rows in parquet.iter_batches(ROWS_TOGETHER, columns=[field.name for field in columns]):
                database.register("rows", pa.table(rows))
                lines = database.sql(f"SELECT {line} FROM rows").to_arrow_table()[0].to_pylist()
                yield "\n".join(lines) + "\n"
    yield "\\.\n"


def _value(field: pa.Field) -> str:
    """What DuckDB makes of a column's values: a field of COPY's text format, for the type that the column has."""
    name = '"' + field.name.replace('"', '""') + '"'
    if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
        value = f"'\\\\x' || hex({name})"
    elif is_list_of_numbers(field.type):
        value = f"translate(CAST(to_json({name}) AS VARCHAR), '[]', '{{}}')"
    else:
        value = f"CAST({f'to_json({name})' if pa.types.is_nested(field.type) else name} AS VARCHAR)"
        for character, escape in ESCAPES.items():
            value = f"replace({value}, chr({ord(character)}), '{escape}')"
    return f"CASE WHEN {name} IS NULL THEN '{NULL}' ELSE {value} END"


def _constant(value: str | None) -> str:
    for character, escape in ESCAPES.items():
        value = value and value.replace(character, escape)
    return "'" + (NULL if value is None else value).replace("'", "''") + "'"
