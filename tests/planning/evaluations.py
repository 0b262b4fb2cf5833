"""A small evaluation's plan, its corpus, and its fragments without an encoder."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.sample import CHECKPOINT
from pipeline.config.evaluate import EvaluationJob
from pipeline.config.loader import parse_settings
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.splits import Split, Splits, read_splits
from pipeline.schema import DOCUMENT_LOGITS, fragment_schema

Record = dict[str, Any]


def checkpoint(folder: Path, **rookery: Any) -> Path:
    """The sample's, by links, but for what a test writes: its labels are ethereum, kubernetes, python, rust, swift."""
    path = folder / "checkpoint"
    path.mkdir()
    for file in CHECKPOINT.iterdir():
        # what is written through a link changes the sample's own
        if file.name not in ("rookery.json", "training_documents.parquet"):
            (path / file.name).symlink_to(file)
    (path / "rookery.json").write_text(json.dumps(rookery))
    return path


def plan(folder: Path, *overrides: str, problem_type: str = "single_label", **files: list[Record]) -> Plan:
    for name, records in files.items():
        path = folder / "corpus" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"text": text(record["id"])} | record) + "\n" for record in records))
    settings = [
        f"corpus.uris={folder}/corpus",
        "corpus.id_column=id",
        "corpus.label_column=label",
        f"checkpoint.uri={checkpoint(folder, problem_type=problem_type)}",
        f"evaluation.output={folder}/out",
    ]
    return make_plan(parse_settings(EvaluationJob, "", [*settings, *overrides], "job"))


def splits(found: Plan, measured: str = "test", fitted: str | None = None) -> Splits:
    assert isinstance(found.job, EvaluationJob)
    return read_splits(found, found.job.corpus, measured, fitted)


def split(found: Plan) -> Split:
    return splits(found).measured


def write_fragments(found: Plan, failed: tuple[str, ...] = ()) -> None:
    """Of each unit, rows in any order; a document's first logit is the number that its id is."""
    for id_, unit in zip(found.unit_ids, found.units, strict=True):
        path = Path(unit.file.uri.removeprefix("file://"))
        position, rows = 0, []
        for line in path.read_bytes().splitlines(keepends=True):
            name = json.loads(line)["id"]
            row: Record = {"id": name, "position": position, "n_tokens": int(name), "n_windows": 1}
            if name in failed:
                row |= {"stage": "read", "reason": "null_text", "message": "the text is null"}
            else:
                row |= {"logits": [float(name), 0, 0, 0, 0]}
            rows.append(row)
            position += len(line)
        found.fragments.write(id_, pa.Table.from_pylist(rows[::-1], schema=fragment_schema(DOCUMENT_LOGITS)))


def text(id_: str) -> str:
    return f"the text of {id_}"


def remember(checkpoint: Path, train: list[str], validation: list[str], complete: bool = True) -> None:
    """Makes a checkpoint's folder say what it was trained on, as `rookery train` does, by texts."""
    uses = [(text, "train") for text in train] + [(text, "validation") for text in validation]
    rows = sorted((hashlib.sha256(text.encode()).digest()[:16], use) for text, use in uses)
    columns = [
        pa.array(column, type_)
        for column, type_ in zip(zip(*rows, strict=True), (pa.binary(16), pa.string()), strict=True)
    ]
    schema = pa.schema([pa.field("digest", pa.binary(16), False), pa.field("split", pa.string(), False)])
    table = pa.Table.from_arrays(columns, schema=schema.with_metadata({"complete": json.dumps(complete)}))
    pq.write_table(table, checkpoint / "training_documents.parquet")


def document(id_: int, label: Any, **others: Any) -> Record:
    return {"id": str(id_), "label": label} | others
