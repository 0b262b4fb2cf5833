"""A small corpus of real documents in every format, and what the plain predictor says of each."""

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.inference.predictor import Predictor
from pipeline.text.tokenizer import Tokenizer

CHARACTERS = 6_000  # of each document: enough for sparse attention, quick to encode


@dataclass(frozen=True)
class Document:
    id: str
    text: str


def documents(count: int) -> list[Document]:
    """Real documents of the sample's test split; one of them is longer than a window."""
    table = pq.read_table(CORPUS / "test.parquet")
    ids, texts = table["id"].to_pylist(), table["text"].to_pylist()
    longest = max(range(len(texts)), key=lambda i: len(texts[i]))
    order = [longest, *(i for i in range(len(texts)) if i != longest)][:count]
    return [Document(ids[i], texts[i] if i == longest else texts[i][:CHARACTERS]) for i in order]


def write_every_format(folder: Path, found: list[Document]) -> list[Document]:
    """Writes the documents below `folder`, some in each format; returns them with the ids that they get there."""
    fifth = len(found) // 5
    parts = [found[i * fifth : (i + 1) * fifth] for i in range(4)] + [found[4 * fifth :]]
    paths = [
        folder / "collection=parquet" / "part-0.parquet",
        folder / "collection=lines" / "plain.jsonl",
        folder / "collection=lines" / "packed.jsonl.gz",
        folder / "collection=a%20table" / "table.csv",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"id": [d.id for d in parts[0]], "text": [d.text for d in parts[0]]}
    pq.write_table(pa.table(columns), paths[0], row_group_size=3)
    paths[1].write_text("".join(_line(d) for d in parts[1]))
    paths[2].write_bytes(gzip.compress("".join(_line(d) for d in parts[2]).encode()))
    with paths[3].open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *((d.id, d.text) for d in parts[3])])
    return [
        *parts[0],
        *parts[1],
        *parts[2],
        *parts[3],
        *_write_texts(folder / "collection=texts", parts[4]),
    ]


def _line(document: Document) -> str:
    return json.dumps({"text": document.text, "id": document.id, "other": 1}) + "\n"


def _write_texts(folder: Path, found: list[Document]) -> list[Document]:
    """Plain text has no id column: a document's id is its file's URI."""
    folder.mkdir()
    for document in found:
        (folder / f"{document.id}.txt").write_text(document.text)
    return [Document(f"file://{folder}/{d.id}.txt", d.text) for d in found]


def plain_logits(found: list[Document], checkpoint: Path = CHECKPOINT) -> dict[str, np.ndarray]:
    """Each document alone, each of its windows alone, in fp32: window means weighted by tokens."""
    tokenizer = Tokenizer.load(checkpoint / "spiece.model", None)
    predictor = Predictor.load(checkpoint, device="cpu", dtype="fp32", threads=None)
    body, overlap = 4096 - 2, 128
    results = {}
    for document in found:
        (ids,) = tokenizer.encode([document.text])
        starts = range(0, max(1, len(ids) - overlap), body - overlap)
        windows = [np.array([tokenizer.cls_id, *ids[s : s + body], tokenizer.sep_id]) for s in starts]
        logits = np.concatenate([predictor.predict(w, np.array([len(w)])) for w in windows])
        results[document.id] = np.average(logits, axis=0, weights=[len(w) for w in windows])
    return results
