"""ClickHouse, which has no transactions: a table beside the one that readers know, checked, then exchanged with it.

A difference copies what stays, inside the server. So readers see the old rows or the new ones, whole, and a load that
ends anywhere before the exchange has changed nothing.
"""

from collections.abc import Iterator

from pipeline.warehouses.loads import FileBatch
from pipeline.warehouses.words import Words, local_path, without_globs


def clickhouse_script(words: Words) -> Iterator[str]:
    """Gives the statements that load a snapshot or a difference."""
    table, new, gone = words.table, words.new, words.gone
    yield f"CREATE TABLE IF NOT EXISTS {table} (\n{words.definitions}\n) ENGINE = MergeTree ORDER BY {words.id};\n"
    yield f"DROP TABLE IF EXISTS {new};\nCREATE TABLE {new} AS {table};\n"
    if words.load.since is not None:
        yield (
            f"DROP TABLE IF EXISTS {gone};\n"
            f"CREATE TABLE {gone} ({words.id} String) ENGINE = MergeTree ORDER BY {words.id};\n"
        )
        for batch in words.replaced:
            yield f"INSERT INTO {gone} SELECT {words.id} FROM {_files(words, batch)};\n"
        yield (
            f"INSERT INTO {new} ({words.names})\nSELECT {words.names}\nFROM {table} "
            f"WHERE {words.id} NOT IN (SELECT {words.id} FROM {gone});\nDROP TABLE {gone};\n"
        )
    for batch in words.load.batches(words.load.added):
        yield f"INSERT INTO {new} ({words.names})\nSELECT {words.selected(batch)}\nFROM {_files(words, batch)};\n"
    yield f"SELECT throwIf(NOT ({words.is_right}),\n  {words.dialect.text(words.expected)}) FROM {new};\n"
    yield f"EXCHANGE TABLES {new} AND {table};\nDROP TABLE {new};\n"


def _files(words: Words, batch: FileBatch) -> str:
    folder = without_globs(batch.uris[0].rpartition("/")[0], "ClickHouse")
    names = [uri.rpartition("/")[2].removesuffix(".parquet") for uri in batch.uris]
    pattern = f"{folder}/{names[0] if len(names) == 1 else '{' + ','.join(names) + '}'}.parquet"
    function = "file" if pattern.startswith("file://") else "s3"
    return f"{function}({words.dialect.text(local_path(pattern))}, 'Parquet')"
