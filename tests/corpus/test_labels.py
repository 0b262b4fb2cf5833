import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sample import CORPUS
from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.corpus.labels import Labelled, LabelledDocument
from pipeline.errors import CorpusError
from tests.corpus.files import STORAGE, put


def labelled(uri: Path, **settings: Any) -> list[LabelledDocument]:
    given = {"id_column": "id", "label_column": "label"} | settings
    return list(Labelled.open(STORAGE, LabelledCorpusSettings(uris=(str(uri),), **given)))


def lines(path: Path, *records: dict[str, Any]) -> Path:
    return put(path, "".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize("label", ["rook", 3, 0.5, True])
def test_a_label_is_what_the_column_holds(tmp_path: Path, label: object):
    path = lines(tmp_path / "a.jsonl", {"id": "1", "text": "x", "label": label})
    assert labelled(path) == [LabelledDocument("1", "x", label, None)]  # type: ignore[arg-type]


def test_parquet_gives_lists_and_splits(tmp_path: Path):
    table = {"id": ["1", "2"], "text": ["x", "y"], "label": [["a", "b"], ["c"]], "part": ["p", "q"]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert labelled(tmp_path, split_column="part") == [
        LabelledDocument("1", "x", ("a", "b"), "p"),
        LabelledDocument("2", "y", ("c",), "q"),
    ]


def test_csv_gives_strings(tmp_path: Path):
    path = put(tmp_path / "a.csv", "id,text,label\n1,x,0.5\n")
    assert labelled(path) == [LabelledDocument("1", "x", "0.5", None)]


def test_label_and_split_may_be_hive_keys(tmp_path: Path):
    put(tmp_path / "label=rook" / "split=train" / "a.txt", "caw")
    found = labelled(tmp_path, id_column=None, split_column="split")
    assert [(d.text, d.label, d.split) for d in found] == [("caw", "rook", "train")]


def test_the_sample_as_duckdb_counts_it():
    import duckdb

    found = labelled(CORPUS / "*.parquet", split_column="split")
    counts = duckdb.sql(f"SELECT label, split, count(*) FROM '{CORPUS}/*.parquet' GROUP BY ALL")
    for label, split, count in counts.fetchall():
        assert sum((d.label, d.split) == (label, split) for d in found) == count


@pytest.mark.parametrize("label", [None, "", []])
def test_documents_without_a_label_are_refused_or_skipped(tmp_path: Path, label: object):
    path = lines(
        tmp_path / "a.jsonl",
        {"id": "1", "text": "x", "label": "a"},
        {"id": "2", "text": "y", "label": label},
    )
    with pytest.raises(CorpusError, match=r"1 of 2 documents have no label .* '2'; .*unlabelled"):
        labelled(path)
    assert [d.id for d in labelled(path, unlabelled="skip")] == ["1"]
    if label == []:
        assert [d.label for d in labelled(path, unlabelled="keep")] == ["a", ()]
    else:
        with pytest.raises(CorpusError, match="1 of 2 documents have no label"):
            labelled(path, unlabelled="keep")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"label": float("nan")}, "is nan; expected a finite number"),
        ({"label": {"a": 1}}, "expected a string, a list of strings, or a number"),
        ({"label": [1]}, "expected a string, a list of strings, or a number"),
        ({"label": "a", "text": ""}, "has a label but no text"),
        ({"label": "a", "text": 3}, "cannot be read: not_a_string"),
        ({"other": "a"}, "'label': not one of 1 documents has a value there"),
    ],
    ids=["NaN", "object", "list of numbers", "no text", "text is a number", "no such column"],
)
def test_what_is_no_labelled_document(tmp_path: Path, record: dict[str, Any], message: str):
    path = lines(tmp_path / "a.jsonl", {"id": "1", "text": "x"} | record)
    with pytest.raises(CorpusError, match=message):
        labelled(path)


def test_a_path_may_repeat_a_column_and_not_contradict_it(tmp_path: Path):
    record = {"id": "1", "text": "x", "label": "rook"}
    lines(tmp_path / "label=rook" / "a.jsonl", record)
    assert [d.label for d in labelled(tmp_path)] == ["rook"]
    lines(tmp_path / "label=crow" / "a.jsonl", record)
    message = r"document '1': column 'label' is 'rook', and the file's path says 'crow'"
    with pytest.raises(CorpusError, match=message):
        labelled(tmp_path)


def test_a_label_or_a_split_that_is_there_twice_is_refused(tmp_path: Path):
    put(tmp_path / "a.csv", "id,text,label,label\n1,x,a,b\n")
    with pytest.raises(CorpusError, match="the header has 'label' 2 times"):
        labelled(tmp_path / "a.csv")
    columns = pa.Table.from_arrays([["1"], ["x"], ["a"], ["p"], ["q"]], names=["id", "text", "label", "part", "part"])  # fmt: skip
    pq.write_table(columns, tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"more than one column 'part' \(corpus.split_column\)"):
        labelled(tmp_path / "a.parquet", split_column="part")
    put(tmp_path / "a.jsonl", '{"id": "1", "text": "x", "label": "a", "label": "b"}\n')
    with pytest.raises(CorpusError, match="cannot be read: repeated_name"):
        labelled(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (pa.array([Decimal("1.50")]), 1.5),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array(["a"], pa.large_string()), "a"),
        (pa.array([7], pa.int8()), 7),
        (pa.array([2**62], pa.timestamp("ms")), "column 'label' can't be read"),
        (pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers()), "column 'label' can't be read"),
    ],
    ids=["decimal", "dictionary", "large", "int8", "beyond the calendar", "no UTF-8"],
)  # fmt: skip
def test_labels_of_every_type_of_arrow(tmp_path: Path, labels: pa.Array, found: Any):
    pq.write_table(pa.table({"id": ["1"], "text": ["x"], "label": labels}), tmp_path / "a.parquet")
    if isinstance(found, str) and " " in found:
        with pytest.raises(CorpusError, match=found):
            labelled(tmp_path)
    else:
        assert [d.label for d in labelled(tmp_path)] == [found]


def test_half_a_character_is_no_label(tmp_path: Path):
    path = put(tmp_path / "a.jsonl", r'{"id": "1", "text": "x", "label": "\ud800"}')
    with pytest.raises(CorpusError, match=r"column 'label' can't be read .*surrogates not allowed"):
        labelled(path)
