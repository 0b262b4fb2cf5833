"""Tables for loading, with all that a name, an id or a value may do to a statement."""

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.schema import DOCUMENT_LOGITS, DOCUMENT_RECORD
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.fragments import fragment
from pipeline.tables.groups import TableLayout
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import Publication, publish
from pipeline.tables.snapshots import Manifest
from pipeline.tables.source_units import SourceUnit
from tests.tables.test_publish import CHECKPOINT, DECISION, RUN, Table

NAME = 'my "topics"; it\'s'
ODD_IDS = [
    "it's",
    'a "quote"',
    "two\nlines\n\\.\n",
    "tab\tback\\slash",
    "größer 🦉",
    "",
    "\\N",
    "{1,2}",
    "$1 -- ;",
    "\r",
]
LAYOUT = TableLayout(partition_by=("group",), carried=("order",), buckets=4)
PARTS = ("a b", "x/y=%41'", None)  # values of the partition, one null


class Published(Table):
    """A table partitioned by a key called `group`, with a column called `order`."""

    def night(self, documents: dict[str, str], duplicate_ids: Any = "refuse", layout: TableLayout = LAYOUT) -> Manifest:
        """Publishes documents, texts by id, some of them in each of ten files; those of one text fail."""
        rules = PublicationRules(ErrorBudget(1.0), duplicate_ids)
        units = [self._file(n, documents) for n in range(10)]
        publication = Publication(tuple(filter(None, units)), layout, DECISION, "key", False, rules, CHECKPOINT)
        return publish(self.snapshots, self.fragments, publication, RUN)

    def _file(self, number: int, documents: dict[str, str]) -> SourceUnit | None:
        mine = [id_ for id_ in documents if hashlib.sha256(id_.encode()).digest()[0] % 10 == number]
        rows = [self._record(id_, position, documents[id_]) for position, id_ in enumerate(mine)]
        if not rows:
            return None
        unit = hashlib.sha256(repr([number, rows]).encode()).hexdigest()[:32]
        records = pa.Table.from_struct_array(pa.array(rows, DOCUMENT_RECORD))
        logits = pa.array([[len(documents[id_]), 1.5] for id_ in mine], DOCUMENT_LOGITS.type)
        self.fragments.write(unit, fragment(records, logits, DOCUMENT_LOGITS))
        part = PARTS[number % 3]
        return SourceUnit(unit, f"s3://b/{number}.jsonl", (("group", part), ("order", f"{number}'s")), len(rows))

    def _record(self, id_: str, position: int, text: str) -> dict[str, Any]:
        fine = {"n_tokens": len(text), "n_windows": 1, "truncated": False}
        return {"id": id_, "position": position, "content_sha256": hashlib.sha256(text.encode()).hexdigest()} | fine


def published(folder: Path) -> Published:
    return Published(folder / NAME)


def first_night() -> dict[str, str]:
    return {id_: f"text {n}" for n, id_ in enumerate([*ODD_IDS, *(f"document {n}" for n in range(40))])}


def second_night() -> dict[str, str]:
    """Some are gone, some have another text, some are new."""
    documents = {id_: text for n, (id_, text) in enumerate(first_night().items()) if n % 7}
    documents |= {id_: f"{text}, edited" for n, (id_, text) in enumerate(documents.items()) if n % 11 == 0}
    return documents | {f"new {n}\n'": "a new text" for n in range(5)}


def expected_rows(table: Published, snapshot: int, columns: str) -> list[tuple[Any, ...]]:
    """What a snapshot holds, by DuckDB's own reading of its folder."""
    glob = f"{table.folder}/data/snapshot={snapshot:020d}/**/*.parquet".replace("[", "[[]")
    query = "SELECT {} FROM read_parquet(?, hive_partitioning = true, hive_types = {{'group': VARCHAR}}) ORDER BY id"
    rows: list[tuple[Any, ...]] = duckdb.execute(query.format(columns), [glob]).fetchall()
    return rows
