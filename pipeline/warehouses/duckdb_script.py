"""DuckDB: one transaction, straight from the files; and a view of whatever is newest."""

from collections.abc import Iterator

from pipeline.warehouses.loads import FileBatch
from pipeline.warehouses.words import Words, local_path, without_globs


def duckdb_script(words: Words) -> Iterator[str]:
    """Gives the statements that load a snapshot or a difference."""
    yield f"BEGIN TRANSACTION;\nCREATE TABLE IF NOT EXISTS {words.table} (\n{words.definitions}\n);\n"
    if words.load.since is None:
        yield f"DELETE FROM {words.table};\n"
    else:
        for batch in words.replaced:
            yield f"DELETE FROM {words.table} WHERE {words.id} IN (SELECT {words.id} FROM {_files(words, batch)});\n"
    for batch in words.load.batches(words.load.added):
        yield (
            f"INSERT INTO {words.table} ({words.names})\nSELECT {words.selected(batch)}\nFROM {_files(words, batch)};\n"
        )
    yield (
        f"SELECT CASE WHEN {words.is_right}\n  THEN 'loaded' ELSE error({words.found}) END AS rookery\n"
        f"FROM {words.table};\nCOMMIT;\n"
    )


def duckdb_view(words: Words) -> Iterator[str]:
    """Gives the statements of a file that makes a view of the newest snapshot there is, when they are run.

    The files are the manifest's, so that nothing is listed and none of another snapshot is read.
    """
    load, text = words.load, words.dialect.text
    folder = without_globs(local_path(load.table_uri), "DuckDB") + "/"
    name = f"{load.table}_rookery"
    variable, value = words.dialect.identifier(name), f"getvariable({text(name)})"
    keys = ", ".join(
        f"{words.dialect.identifier(field.name)}: {words.dialect.type(field.type)}" for field in load.partitions
    )
    read = f"read_parquet({value}, hive_partitioning = {bool(keys)}"
    types = f", hive_types = {{{keys}}}" if keys else ""
    yield (
        f"SET VARIABLE {variable} = (\n"
        f"  SELECT {text(folder)} || manifest FROM read_json({text(folder + '_latest.json')})\n);\n"
        f"SET VARIABLE {variable} = (\n"
        f"  SELECT list({text(folder)} || file.path)\n"
        f"  FROM (SELECT unnest(files) AS file FROM read_json({value},\n"
        "    columns = {files: 'STRUCT(path VARCHAR, kind VARCHAR)[]'}, maximum_object_size = 1073741824))\n"
        "  WHERE file.kind = 'data'\n"
        ");\n"
        f"CREATE OR REPLACE TEMP VIEW {words.table} AS\nSELECT {words.names}\nFROM {read}{types});\n"
    )


def _files(words: Words, batch: FileBatch) -> str:
    uris = ", ".join(f"\n  {words.dialect.text(without_globs(local_path(uri), 'DuckDB'))}" for uri in batch.uris)
    return f"read_parquet([{uris}\n], hive_partitioning = false)"
