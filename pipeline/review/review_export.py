"""Chosen documents with their texts, as Label Studio's tasks or as JSON Lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import pyarrow as pa

from pipeline.corpus.texts import ScoredText, scored_texts
from pipeline.errors import ConfigError, CorpusError
from pipeline.review.choosing import LabelKind
from pipeline.review.label_studio import labelling_config, labelling_task
from pipeline.storage.objects import Storage
from pipeline.tables.published_corpus import PublishedCorpus
from pipeline.tables.snapshots import Manifest

ReviewFormat = Literal["label-studio", "jsonl"]
ENDINGS: dict[ReviewFormat, str] = {"label-studio": ".json", "jsonl": ".jsonl"}


@dataclass(slots=True)
class ReviewExported:
    """What was written, and how many documents of each reason. `texts_missing`: documents that were left out."""

    uris: list[str]
    reasons: dict[str, int] = field(default_factory=dict)
    texts_missing: int = 0


def review_uris(uri: str, format_: ReviewFormat) -> list[str]:
    """Names the objects of a review: its documents, and Label Studio's labelling config beside them.

    Raises ConfigError for another ending than the format's.
    """
    ending = ENDINGS[format_]
    if not uri.endswith(ending) or uri.endswith("/" + ending):
        raise ConfigError(f"{uri}: expected a file that ends in {ending}, for --format {format_}")
    return [uri] if format_ == "jsonl" else [uri, uri.removesuffix(ending) + ".xml"]


def write_review(
    storage: Storage, uris: list[str], format_: ReviewFormat, manifest: Manifest, chosen: pa.Table
) -> ReviewExported:
    """Writes the chosen documents that still have the text that was scored; the config first, the documents last.

    Raises CorpusError where not one has, or a file can't be read any more as the job says.
    """
    exported = ReviewExported(uris)
    with storage.writing(uris[0]) as file:
        documents = _with_texts(manifest, chosen, exported)
        if format_ == "jsonl":
            for data, _ in documents:
                file.write(_json(data | {"label": None}) + b"\n")
        else:
            _write_array(file, (labelling_task(data, score) for data, score in documents))
        if not exported.reasons:
            raise CorpusError(
                f"snapshot {manifest.snapshot}: not one of {len(chosen):,} texts is in the corpus as it was scored; "
                "run `rookery label` first"
            )
        if format_ == "label-studio":
            storage.put(uris[1], labelling_config(LabelKind.of(manifest)).encode())
    return exported


def _with_texts(
    manifest: Manifest, chosen: pa.Table, exported: ReviewExported
) -> Iterator[tuple[dict[str, Any], float]]:
    corpus = PublishedCorpus.of(manifest)
    rows = chosen.to_pylist()
    wanted = (ScoredText(row["source_uri"], row["source_position"], row["content_sha256"]) for row in rows)
    for row, text in zip(rows, scored_texts(corpus.storage, corpus.settings, wanted), strict=True):
        if not text:
            exported.texts_missing += 1
            continue
        reason = row["review_reason"]
        exported.reasons[reason] = exported.reasons.get(reason, 0) + 1
        data = {"document_id": row.pop("id"), "text": text} | row
        score = data.pop("score")
        yield data | {"model_version": f"{manifest.scoring_key}-{manifest.decision_key}"}, score


def _write_array(file: BinaryIO, items: Iterator[dict[str, Any]]) -> None:
    file.write(b"[")
    for number, item in enumerate(items):
        file.write((b",\n" if number else b"\n") + _json(item))
    file.write(b"\n]\n")


def _json(item: dict[str, Any]) -> bytes:
    return json.dumps(item, ensure_ascii=False, allow_nan=False).encode()
