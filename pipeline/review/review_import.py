"""Reviewed documents as a labelled corpus, which `rookery train` and `rookery evaluate` read."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.errors import ConfigError, CorpusError
from pipeline.review.choosing import CONTROL, LabelKind
from pipeline.review.reviewed import ReviewedDocument, read_reviewed
from pipeline.review.voting import Labels, agreed_label, agreed_labels
from pipeline.storage.objects import Storage
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.repeatable_parquet import parquet_bytes
from pipeline.tables.snapshots import Manifest, Snapshots


@dataclass(slots=True)
class ReviewImported:
    """What people said: documents by their label, before and after, and why others were left out."""

    documents: int = 0
    changed: int = 0
    predicted: Counter[str] = field(default_factory=Counter)
    decided: Counter[str] = field(default_factory=Counter)
    changed_from: Counter[str] = field(default_factory=Counter)  # of a label's documents, those that lost it
    control: int = 0
    control_right: int = 0  # of these, how many have the label that was predicted
    left_out: Counter[str] = field(default_factory=Counter)  # by reason


def import_review(snapshots: Snapshots, manifest: Manifest, source: str, target: str) -> ReviewImported:
    """Reads what came back for a table, and puts the labelled corpus: Parquet, or JSON Lines by the target's ending.

    Columns: id, text, label (a string, or a list of them), review_reason, content_sha256; sorted by id.

    Raises ConfigError for a wrong target, CorpusError for what did not come from a review of this table, or holds
    nothing that people agree on.
    """
    if not target.endswith((".parquet", ".jsonl")):
        raise ConfigError(f"{target}: expected a file that ends in .parquet or .jsonl")
    kind, storage = LabelKind.of(manifest), Storage()
    try:
        blob = storage.read(source)
    except FileNotFoundError as error:
        raise CorpusError(f"{source}: no such file; expected what came back from the review") from error
    documents = read_reviewed(source, blob, kind)
    erasures = Erasures(snapshots.storage, snapshots.table_uri)
    erased = erasures.ids(erasures.read()).among(list(documents))
    imported = ReviewImported()
    decided = {}
    for id_, document in sorted(documents.items()):
        if reason := _left_out(document, id_ in erased):
            imported.left_out[reason] += 1
            continue
        labels = (agreed_labels if kind.several else agreed_label)(document.votes)
        if labels is None:
            imported.left_out["a tie between people"] += 1
            continue
        decided[id_] = (document, labels)
        _count(imported, document, labels)
    if not decided:
        raise CorpusError(f"{source}: holds no document that people agree on: nothing was written")
    with storage.writing(target) as file:
        file.write(_corpus_bytes(decided, kind, is_lines=target.endswith(".jsonl")))
    return imported


def _left_out(document: ReviewedDocument, is_erased: bool) -> str | None:
    data = document.data
    if is_erased:
        return "erased from the table since"
    if not document.votes:
        return "skipped, or without an answer" if document.skipped else "nobody judged it"
    if hashlib.sha256(data["text"].encode()).hexdigest() != data["content_sha256"]:
        return "its text came back other than it went out"
    return None


def _count(imported: ReviewImported, document: ReviewedDocument, labels: Labels) -> None:
    predicted = document.data.get("predicted")
    before = frozenset([predicted] if isinstance(predicted, str) else predicted or [])
    imported.documents += 1
    imported.changed += labels != before
    imported.predicted.update(before)
    imported.decided.update(labels)
    imported.changed_from.update(before - labels)
    if document.data.get("review_reason") == CONTROL:
        imported.control += 1
        imported.control_right += labels == before


def _corpus_bytes(decided: Mapping[str, tuple[ReviewedDocument, Labels]], kind: LabelKind, *, is_lines: bool) -> bytes:
    rows = [
        {
            "id": id_,
            "text": document.data["text"],
            "label": [label for label in kind.labels if label in labels] if kind.several else next(iter(labels)),
            "review_reason": document.data.get("review_reason"),
            "content_sha256": document.data["content_sha256"],
        }
        for id_, (document, labels) in decided.items()
    ]
    if is_lines:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    types = {name: pa.string() for name in rows[0]} | ({"label": pa.list_(pa.string())} if kind.several else {})
    return parquet_bytes(pa.Table.from_pylist(rows, schema=pa.schema(list(types.items()))))
