"""A gold corpus looked up in a snapshot: the score against scikit-learn."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.errors import CorpusError
from pipeline.planning.gold import Gold
from pipeline.storage.objects import Storage
from tests.tables.test_comparison import LABELS, SEVERAL, Documents, logits, table

RANDOM = np.random.default_rng(3)


def gold(folder: Path, labels: Mapping[str, object], column: str = "label") -> Gold:
    columns = {"id": list(labels), "text": ["a text"] * len(labels), "topic": list(labels.values())}
    pq.write_table(pa.table(columns), folder / "gold.parquet")
    settings = LabelledCorpusSettings(uris=(str(folder / "gold.parquet"),), id_column="id", label_column="topic")
    return Gold.read(Storage(), settings, column)


def test_macro_f1_is_that_of_scikit_learn(tmp_path: Path):
    documents: Documents = {f"{n:03d}": logits(int(RANDOM.integers(3))) for n in range(200)}
    given = {id_: LABELS[int(np.argmax(of_one or []))] for id_, of_one in documents.items()}
    true = {id_: label if RANDOM.random() < 0.7 else str(RANDOM.choice(LABELS)) for id_, label in given.items()}
    some = {id_: true[id_] for id_ in list(true)[::2]}
    found, documents_found = gold(tmp_path, some | {"elsewhere": "cat"}).score(
        *table(tmp_path / "table", {"a": documents})
    )
    assert documents_found == 100
    expected = f1_score(list(some.values()), [given[id_] for id_ in some], average="macro")
    assert found == pytest.approx(expected)
    assert 0.5 < expected < 0.95


def test_several_labels_and_none(tmp_path: Path):
    signs = RANDOM.choice([-3.0, 3.0], (50, 3))
    documents: Documents = {f"{n:03d}": row.tolist() for n, row in enumerate(signs)}
    given = [[LABELS[i] for i in np.flatnonzero(row > 0)] for row in signs]
    true = [labels[:-1] or ["cat"] for labels in given]
    found, documents_found = gold(tmp_path, dict(zip(documents, true, strict=True)), "labels").score(
        *table(tmp_path / "table", {"a": documents}, SEVERAL)
    )
    encode = MultiLabelBinarizer(classes=LABELS)
    true_NL, given_NL = encode.fit_transform(true), encode.fit_transform(given)
    has_it_L = true_NL.any(0)
    assert documents_found == 50
    expected = f1_score(true_NL[:, has_it_L], given_NL[:, has_it_L], average="macro", zero_division=0)
    assert found == pytest.approx(expected)


def test_a_document_that_could_not_be_labelled_is_not_counted(tmp_path: Path):
    snapshot = table(tmp_path / "table", {"a": {"x": logits(0), "y": None, "z": logits(1)}})
    assert gold(tmp_path, {"x": "cat", "y": "dog"}).score(*snapshot) == (1.0, 1)
    assert gold(tmp_path, {"elsewhere": "cat"}).score(*snapshot) == (None, 0)


@pytest.mark.parametrize(
    ("labels", "column", "problem"),
    [
        ({"x": 1.5, "y": 2.5}, "label", "the label of document 'x' is 1.5; expected one label"),
        ({"x": "cat", "y": "dog"}, "labels", "the label of document 'x' is 'cat'; expected a list of strings"),
        ({"x": None, "y": "dog"}, "label", "have no label there"),
    ],
)
def test_a_gold_corpus_that_can_not_judge(tmp_path: Path, labels: dict[str, object], column: str, problem: str):
    with pytest.raises(CorpusError, match=f"^gates.gold: .*{problem}"):
        gold(tmp_path, labels, column)


def test_an_id_that_is_there_twice(tmp_path: Path):
    twice = pa.table({"id": ["x", "x"], "text": ["a", "b"], "topic": ["cat", "dog"]})
    pq.write_table(twice, tmp_path / "gold.parquet")
    settings = LabelledCorpusSettings(uris=(str(tmp_path / "gold.parquet"),), id_column="id", label_column="topic")
    with pytest.raises(CorpusError, match="several documents have the id 'x'"):
        Gold.read(Storage(), settings, "label")


def test_reading_it_imports_neither_torch_nor_ray():
    code = "import sys, pipeline.planning.gold; print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
