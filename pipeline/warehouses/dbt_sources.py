"""dbt's `sources.yml` of a table: its columns, what they mean, and what must hold of them."""

import yaml

from pipeline.warehouses.dialect import Dialect
from pipeline.warehouses.loads import Load


def dbt_sources(load: Load) -> str:
    """Writes a file that `dbt test` takes, for the table that the other scripts load. Types are those of ANSI SQL."""
    meanings = {column["name"]: column["meaning"] for column in load.manifest.columns}
    columns = []
    for field in load.columns:
        tests = [] if field.nullable else ["not_null"]
        if field.name == "id" and not load.manifest.counts["duplicate_ids"]:
            tests.append("unique")
        column = {
            "name": field.name,
            "description": meanings[field.name],
            "data_type": Dialect("").type(field.type),
            "quote": True,
        }
        columns.append(column | ({"data_tests": tests} if tests else {}))
    table = {
        "name": load.table,
        "description": f"Predictions that Rookery publishes in {load.table_uri}",
        "quoting": {"identifier": True},
        "columns": columns,
    }
    sources = {"version": 2, "sources": [{"name": "rookery", "tables": [table]}]}
    return yaml.safe_dump(sources, sort_keys=False, allow_unicode=True, width=120)
