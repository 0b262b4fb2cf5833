"""BigQuery, Snowflake, Redshift, Spark and Athena: files into a table beside, then a MERGE by id, or all rows anew.

None of them has been run by this project: the statements follow the engines' documentation, and are parsed in tests.
"""

from collections.abc import Iterator

from pipeline.warehouses.merging_engines import engine_of
from pipeline.warehouses.words import Words


def merging_script(words: Words) -> Iterator[str]:
    """Gives the statements that load a snapshot or a difference."""
    engine = engine_of(words)
    table, new, gone, load = words.table, words.new, words.gone, words.load
    yield engine.before
    yield f"CREATE TABLE IF NOT EXISTS {engine.table(load.table, [*load.columns])};\n"
    yield f"{words.dropped(words.new_name)}CREATE TABLE {engine.table(words.new_name, [*load.columns])};\n"
    for batch in load.batches(load.added):
        yield engine.read(f"{new} ({words.names})", load.body, words.constants(batch), batch)
    if load.since is None:
        yield engine.begin + engine.replace.format(table=table, names=words.names, new=new)
    else:
        ids = [load.columns.field("id")]
        yield f"{words.dropped(words.gone_name)}CREATE TABLE {engine.table(words.gone_name, ids)};\n"
        for batch in load.batches(load.removed):
            yield engine.read(f"{gone} ({words.id})", ids, [], batch)
        yield engine.begin + _merge(words)
    yield (
        f"SELECT CASE WHEN {words.is_right}\n  THEN 'loaded' ELSE {engine.refusal.format(words.found)} END AS rookery\n"
        f"FROM {table};\n{engine.commit}{words.dropped(words.new_name)}"
    )
    if load.since is not None:
        yield words.dropped(words.gone_name)


def _merge(words: Words) -> str:
    removed = words.dialect.identifier("rookery_removed")
    others = [field for field in words.load.columns if field.name != "id"]
    names = [words.id, *(words.dialect.identifier(field.name) for field in others)]
    nulls = [f"CAST(NULL AS {words.dialect.type(field.type)})" for field in others]
    of_gone = [words.id, *(f"{null} AS {name}" for null, name in zip(nulls, names[1:], strict=True))]
    updates = ",\n  ".join(f"{name} = s.{name}" for name in names[1:])
    return (
        f"MERGE INTO {words.table} AS t USING (\n"
        f"  SELECT {', '.join(names)}, FALSE AS {removed} FROM {words.new}\n"
        f"  UNION ALL\n  SELECT {', '.join(of_gone)}, TRUE AS {removed}\n"
        f"  FROM {words.gone} WHERE {words.id} NOT IN (SELECT {words.id} FROM {words.new})\n"
        f") AS s ON t.{words.id} = s.{words.id}\n"
        f"WHEN MATCHED AND s.{removed} THEN DELETE\n"
        f"WHEN MATCHED THEN UPDATE SET\n  {updates}\n"
        f"WHEN NOT MATCHED AND NOT s.{removed} THEN INSERT ({', '.join(names)})\n"
        f"  VALUES ({', '.join(f's.{name}' for name in names)});\n"
    )
