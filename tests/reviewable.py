"""A small corpus in real files and a table of it, published without an encoder: for what reads both again."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.label import parse_job
from pipeline.schema import DOCUMENT_LOGITS, DOCUMENT_RECORD
from pipeline.storage.objects import Storage
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.fragments import Fragments, fragment
from pipeline.tables.groups import TableLayout
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import Publication, publish
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tables.source_units import SourceUnit
from pipeline.tasks.classification import Classification
from pipeline.tasks.task import Task

LABELS = ("cat", "dog", "emu")
ONE = Classification("single_label", LABELS)
SEVERAL = Classification("multi_label", LABELS, {"emu": 0.8})


@dataclass(frozen=True)
class Document:
    id: str
    text: str
    logits: tuple[float, ...]


def publish_corpus(folder: Path, files: dict[str, list[Document]], task: Task = ONE) -> tuple[Snapshots, Manifest]:
    """Writes each file's documents as Parquet into `folder`/corpus/part=<name>, and publishes what is said of them."""
    job = parse_job("", [f"corpus.uris={folder}/corpus", "corpus.id_column=id", "checkpoint.uri=x", "table.uri=x"])
    table_uri, units = str(folder / "table"), []
    fragments = Fragments(Storage(), table_uri, "key", task.output)
    for name, documents in files.items():
        path = folder / "corpus" / f"part={name}" / "a.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {"id": [d.id for d in documents], "text": [d.text for d in documents]}
        pq.write_table(pa.table(columns), path, row_group_size=2)
        unit = hashlib.sha256(repr((name, documents)).encode()).hexdigest()[:32]
        records = pa.Table.from_struct_array(
            pa.array([_record(n, d) for n, d in enumerate(documents)], DOCUMENT_RECORD)
        )
        logits = pa.array([d.logits for d in documents], DOCUMENT_LOGITS.type)
        fragments.write(unit, fragment(records, logits.cast(task.output.type), task.output))
        units.append(SourceUnit(unit, f"file://{path}", (("part", name),), len(documents)))
    snapshots = Snapshots(Storage(), table_uri)
    publication = Publication(
        tuple(units),
        TableLayout(partition_by=("part",), carried=(), buckets=None),
        task,
        "key",
        False,
        PublicationRules(ErrorBudget(1.0), duplicate_ids="refuse"),
        {"uri": "s3://m/model"},
    )
    return snapshots, publish(snapshots, fragments, publication, {"job": job.model_dump(mode="json")})


def _record(position: int, document: Document) -> dict[str, object]:
    sha256 = hashlib.sha256(document.text.encode()).hexdigest()
    fine = {"n_tokens": 3, "n_windows": 1, "truncated": False}
    return {"id": document.id, "position": position, "content_sha256": sha256} | fine
