"""What the table has of a document, and what the next run does with it, and why."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import passes, read_pass
from pipeline.planning.new_editions import PASSING_REASONS
from pipeline.planning.plan import Plan
from pipeline.tables.predictions import open_errors, open_predictions
from pipeline.tables.snapshots import Manifest
from pipeline.text.records import records_of


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row that a document has in the newest snapshot; None where it has none. `outlook`: what happens next."""

    id: str
    row: dict[str, Any] | None
    outlook: str


def explanations(plan: Plan, ids: list[str]) -> Iterator[Explanation]:
    """Looks documents up in the newest snapshot and, if they are to be read again, in their files.

    Reads the rows with these ids, and of each one's file fragments and the units that have none.

    Raises StorageError, and what `streams.read_pass` raises.
    """
    manifest = plan.snapshots.latest()
    rows = _rows(plan, manifest, ids) if manifest else []
    for id_ in ids:
        of_id = [row for row in rows if row["id"] == id_]
        for row in of_id:
            yield Explanation(id_, row, _outlook(plan, row))
        if not of_id:
            yield Explanation(id_, None, _outlook_of_unknown(plan, manifest))


def _rows(plan: Plan, manifest: Manifest, ids: list[str]) -> list[dict[str, Any]]:
    wanted = pc.field("id").isin(ids)
    return [
        row
        for dataset in (open_predictions(plan.snapshots, manifest), open_errors(plan.snapshots, manifest))
        if "id" in dataset.schema.names  # of no file there is no schema
        for row in dataset.to_table(filter=wanted).to_pylist()
    ]


def _outlook_of_unknown(plan: Plan, manifest: Manifest | None) -> str:
    known = f"snapshot {manifest.snapshot} has neither a prediction nor an error of it" if manifest else "no snapshot"
    if not plan.missing:
        return f"{known}; every unit of the corpus is labelled: the corpus has no document with this id"
    return f"{known}; {len(plan.missing):,} units are not labelled yet: if it is new, it is in one of them"


def _outlook(plan: Plan, row: dict[str, Any]) -> str:
    """What the next run does with a document that has a row."""
    of_file = [
        (id_, unit) for id_, unit in zip(plan.unit_ids, plan.units, strict=True) if unit.file.uri == row["source_uri"]
    ]
    if not of_file:
        return "leaves the next snapshot: its file is no longer in the corpus"
    finished = [id_ for id_, _ in of_file if id_ in plan.finished]
    for unit, documents in zip(finished, plan.fragments.read_columns(finished, ["id", "reason"]), strict=True):
        for document in documents.filter(pc.equal(documents["id"], row["id"])).to_pylist():
            return _outlook_of_finished(plan, row, unit, document["reason"])
    again = [unit for id_, unit in of_file if id_ not in plan.finished]
    return _outlook_of_missing(plan, row, again) if again else "leaves the next snapshot: its file no longer has it"


def _outlook_of_finished(plan: Plan, row: dict[str, Any], unit: str, reason: str | None) -> str:
    if reason is None:
        decided = row.get("decision_key", plan.task.key) == plan.task.key and row["scoring_key"] == plan.scoring.key
        label = "" if decided else "; its label is decided anew, for its keys have changed"
        return f"is not computed again: unit {unit} has its scores{label}"
    asked = "errors" if reason in PASSING_REASONS else reason
    return f"stays an error, {reason}, of unit {unit}; `--retry {asked}` computes it again"


def _outlook_of_missing(plan: Plan, row: dict[str, Any], units: list[Unit]) -> str:
    why = (
        "its file, or how it is cut, has changed since"
        if row["scoring_key"] == plan.scoring.key
        else f"the scoring key was {row['scoring_key']} and is {plan.scoring.key}"
    )
    record = _record(plan, units, row["id"])
    if record is None:
        return f"leaves the next snapshot: {why}, and its file no longer has it"
    if record["reason"]:
        return f"becomes an error, {record['reason']}: {why}"
    if row["scoring_key"] == plan.scoring.key and row.get("content_sha256") == record["content_sha256"]:
        return f"is read again, and its scores are taken over: {why}, and its text has not"
    return f"is computed: {why}" + ("" if row["scoring_key"] != plan.scoring.key else ", and its text too")


def _record(plan: Plan, units: list[Unit], id_: str) -> dict[str, Any] | None:
    """What the document with this id is now, in units that are read for it."""
    for together in passes(units):
        with closing(read_pass(plan.storage, together)) as units_with_documents:  # type: ignore[type-var]
            for _, documents in units_with_documents:
                with_id = documents.filter(pc.equal(documents["id"], pa.scalar(id_)))
                if len(with_id):
                    record: dict[str, Any] = records_of(with_id).to_pylist()[0]
                    return record
    return None
