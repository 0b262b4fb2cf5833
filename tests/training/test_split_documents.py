"""Which documents train, validate and test: a text is for one of them only, here and in the training before."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.config.label import StorageSettings
from pipeline.corpus.training_documents import TrainingDocuments, content_digest, digests
from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage
from pipeline.training.split_documents import Documents, DocumentSource
from tests.training.corpora import job

STORAGE = Storage(StorageSettings())


def chosen(
    folder: Path, rows: Sequence[tuple[str, str | None]], earlier: TrainingDocuments | None = None, **sections: Any
) -> Documents:
    """Of (text, split); a document's label is its text's first letter."""
    records = [{"id": str(n), "text": text, "label": text[0], "split": split} for n, (text, split) in enumerate(rows)]
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = DocumentSource.open(STORAGE, job(path, folder / "model", **sections))
    return source.choose(earlier, complete=True)


def texts(documents: Documents) -> set[tuple[str, str]]:
    return {(split, document.text) for split, document in documents}


def of(train: list[str], validation: list[str]) -> TrainingDocuments:
    held = (digests(b"".join(map(content_digest, own))) for own in (train, validation))
    return TrainingDocuments.of(*held, complete=True)


def known(found: TrainingDocuments) -> dict[str, list[bytes]]:
    return {use: sorted(held.to_pylist()) for use, held in found.by_use.items()}


def test_a_text_is_for_the_first_split_that_has_it(tmp_path: Path):
    rows = [
        ("a", "test"),
        ("b", "test"),
        ("c", "test"),
        ("b", "validation"),
        ("d", "validation"),
        ("b", "train"),
        ("b", "train"),
        ("e", "train"),
        ("c", "validation"),
        ("f", "other"),
        ("f", None),
    ]
    found = chosen(tmp_path, rows)
    assert texts(found) == {("test", "a"), ("validation", "d"), ("validation", "c"), ("train", "b"), ("train", "e")}
    assert {split: Counter(labels) for split, labels in found.labels.items()} == {
        "train": Counter("bbe"),
        "validation": Counter("dc"),
        "test": Counter("a"),
    }
    assert found.repeated == {"train": 0, "validation": 1, "test": 2}
    assert found.left_out == 2
    assert known(found.trained_on) == known(of(["b", "e"], ["c", "d"]))


def test_the_training_before_counts_as_this_one(tmp_path: Path):
    earlier = of(["a", "b"], ["c", "d", "e"])
    rows = [("a", "validation"), ("c", "validation"), ("d", "train"), ("b", "test"), ("e", "test"), ("g", "test")]
    found = chosen(tmp_path, rows, earlier)
    assert texts(found) == {("validation", "c"), ("train", "d"), ("test", "g")}
    assert known(found.trained_on) == known(of(["a", "b", "d"], ["c", "e"]))


def test_a_validation_split_that_is_known_by_heart_is_refused(tmp_path: Path):
    rows = [("a", "train"), ("a", "validation"), ("b", "test")]
    with pytest.raises(CorpusError, match=r"splits.validation: the text of each of its 1 documents .* give others"):
        chosen(tmp_path, rows)


def test_a_corpus_of_its_own_that_repeats_the_training_tests_nothing(tmp_path: Path):
    rows = [("a", "train"), ("b", "validation")]
    columns = {"uris": str(tmp_path / "a.jsonl"), "id_column": "id", "label_column": "label"}
    found = chosen(tmp_path, rows, test=columns)
    assert found.repeated["test"] == 2
    assert not found.labels["test"]


def test_what_is_written_is_sorted_and_reads_back(tmp_path: Path):
    written = of([str(n) for n in range(50)], ["50", "1", "51", "50"])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written.write(tmp_path / name / "training_documents.parquet")
    expected = sorted(
        (hashlib.sha256(str(n).encode()).digest()[:16], "train" if n < 50 else "validation") for n in range(52)
    )
    rows = pq.read_table(tmp_path / "a").to_pylist()
    assert [(row["digest"], row["split"]) for row in rows] == expected
    a, b = ((tmp_path / name / "training_documents.parquet").read_bytes() for name in ("a", "b"))
    assert a == b
    again = TrainingDocuments.read(tmp_path / "a")
    assert again is not None
    assert known(again) == known(written)
    assert again.complete
    assert TrainingDocuments.read(tmp_path) is None
