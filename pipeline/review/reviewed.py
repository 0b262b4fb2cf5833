"""What came back from people: Label Studio's JSON or JSON-MIN, or our JSON Lines with `label` filled in.

Only documents and labels are taken: no name, id or address of whoever decided, no comment, no time.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import CorpusError
from pipeline.messages import listed
from pipeline.review.choosing import LabelKind
from pipeline.review.label_studio import annotated_labels
from pipeline.review.voting import Labels

_EXPECTED = "expected what `rookery review export` wrote, as Label Studio or a person gives it back"


@dataclass(slots=True)
class ReviewedDocument:
    """A document that came back: its data as it went out, and who gave which labels, without who."""

    data: Mapping[str, Any]
    votes: list[Labels] = field(default_factory=list)
    skipped: int = 0  # annotations that were skipped, or have no answer


def read_reviewed(uri: str, blob: bytes, kind: LabelKind) -> dict[str, ReviewedDocument]:
    """Reads documents by their ids; one that came back several times is one.

    Raises CorpusError for another form, and for labels that the table doesn't have.
    """
    documents: dict[str, ReviewedDocument] = {}
    for where, item in _items(uri, blob):
        data = item.get("data", item)
        if not all(isinstance(data.get(name), str) for name in ("document_id", "text", "content_sha256")):
            raise CorpusError(f"{where}: lacks document_id, text or content_sha256; {_EXPECTED}")
        document = documents.setdefault(data["document_id"], ReviewedDocument(data))
        for labels in _answers(where, item, kind):
            if labels is None or not (labels or kind.several):
                document.skipped += 1
            else:
                document.votes.append(_checked(where, labels, kind))
    return documents


def _items(uri: str, blob: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        text = blob.decode("utf-8-sig")
        if text.lstrip().startswith("["):
            items, what = json.loads(text), "item"
        else:
            items, what = [json.loads(line) for line in text.split("\n") if line.strip()], "line"
    except ValueError as error:
        raise CorpusError(f"{uri}: is no JSON and no JSON Lines ({error}); {_EXPECTED}") from error
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise CorpusError(f"{uri}: {what} {number} is no object; {_EXPECTED}")
        yield f"{uri}: {what} {number}", item


def _answers(where: str, item: dict[str, Any], kind: LabelKind) -> Iterator[list[str] | None]:
    if "annotations" in item:
        try:
            yield from annotated_labels(item)
        except (KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"{where}: has annotations of another form ({error!r}); {_EXPECTED}") from error
        return
    label = item.get("label")  # of JSON-MIN, or of a line
    match label:
        case None:
            yield None
        case str():
            yield [label] if label else None
        case {"choices": [*labels]} | [*labels]:
            yield labels
        case _:
            expected = "a list of labels" if kind.several else "a label"
            raise CorpusError(f"{where}: label is {label!r}; expected {expected}, or null for what nobody judged")


def _checked(where: str, labels: list[str], kind: LabelKind) -> Labels:
    for label in labels:
        if label not in kind.labels:
            there = listed(list(map(repr, kind.labels)), 20)
            raise CorpusError(f"{where}: the label {label!r} is none of the table's; it has {there}")
    if len(set(labels)) > 1 and not kind.several:
        raise CorpusError(f"{where}: has {len(set(labels))} labels ({listed(labels)}), and the table gives one")
    return frozenset(labels)
