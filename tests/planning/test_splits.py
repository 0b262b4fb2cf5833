"""Which documents are measured and fitted; what is wrong with labels is said before anything is computed."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.evaluate import EvaluationJob
from pipeline.errors import CheckpointError, CorpusError
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.splits import Split
from tests.planning.evaluations import Record, document, plan, remember, split, splits, text


def test_a_hive_key_can_be_the_label_or_the_split(tmp_path: Path):
    files: Any = {
        "part=test/topic=rust/a": [{"id": "1"}],
        "part=train/topic=swift/a": [{"id": "2"}],
    }
    found = plan(tmp_path, "corpus.label_column=topic", "corpus.split_column=part", **files)
    assert split(found).labels == ["rust"]


@pytest.mark.parametrize(
    ("records", "overrides", "problem_type", "message"),
    [
        (
            [document(1, "cobol")],
            [],
            "single_label",
            "the corpus: 1 documents have labels that the checkpoint does not know: cobol",
        ),
        ([document(1, ["rust", "cobol"])], [], "multi_label", "the checkpoint does not know: cobol"),
        (
            [document(1, "rust"), document(2, [])],
            [],
            "single_label",
            "1 of 2 documents of the corpus have no label .* '2'",
        ),
        (
            [document(1, "rust"), document(2, None)],
            [],
            "multi_label",
            "1 of 2 documents of the corpus have no label .* '2'",
        ),
        (
            [document(1, None)],
            ["corpus.unlabelled=skip"],
            "single_label",
            "not one of 1 documents .* has a label there",
        ),
        ([{"id": "1"}], [], "single_label", "'label': not one of 1 documents"),
        (
            [document(1, float("nan"))],
            [],
            "single_label",
            "document '1': column 'label' is nan; expected a finite number",
        ),
        ([document(1, {"a": 1})], [], "multi_label", "expected a string, a list of strings, or a number"),
        (
            [document(1, "rust", part="dev")],
            ["corpus.split_column=part"],
            "single_label",
            r"'part': no document is in the split 'test'; found 'dev' \(1\); name the splits with evaluation.test",
        ),
        ([document(1, "rust")], ["corpus.split_column=part"], "single_label", "in the split 'test'; found None"),
    ],
    ids=[
        "unknown",
        "one of two unknown",
        "empty list",
        "null",
        "nothing but nulls",
        "no column",
        "NaN",
        "an object",
        "missing split",
        "no split column",
    ],
)
def test_what_is_wrong_with_labels_is_said(
    tmp_path: Path, records: list[Record], overrides: list[str], problem_type: str, message: str
):
    found = plan(tmp_path, *overrides, problem_type=problem_type, a=records)
    with pytest.raises(CorpusError, match=message):
        split(found)


def test_documents_without_a_label_can_be_left_out(tmp_path: Path):
    rows = [document(1, "rust"), document(2, None), document(3, "")]
    found = split(plan(tmp_path, "corpus.unlabelled=skip", a=rows))
    assert (len(found), found.skipped) == (1, 2)
    assert [asdict(row) for rows in found.units.values() for row in rows] == [
        {
            "position": 0,
            "id": "1",
            "label": "rust",
            "split": None,
            "reason": None,
            "digest": hashlib.sha256(text("1").encode()).digest()[:16],
        }
    ]


def ids(split: Split) -> list[str]:
    return sorted(row.id for rows in split.units.values() for row in rows)


def seen(folder: Path, *overrides: str, complete: bool = True) -> Plan:
    """Of ten documents 1 and 2 were trained on, 3 validated on; 5 is unlabelled, 6 unreadable, 7 and 8 are one text."""
    records = [
        document(id_, None if id_ == 5 else ("rust", "swift")[id_ % 2], part=("test", "validation")[id_ > 7])
        for id_ in range(1, 11)
    ]
    records[5]["text"] = 6
    records[6]["text"] = records[7]["text"] = "the same"
    found = plan(folder, "corpus.unlabelled=skip", *overrides, a=records)
    trained = [text("1"), text("2"), text("9"), "of another corpus"]
    remember(found.checkpoint.path, trained, [text("3"), text("10")], complete)
    return found


def test_what_the_checkpoint_knows_is_not_measured(tmp_path: Path):
    found = splits(seen(tmp_path))
    assert ids(found.measured) == ["4", "7", "8"]
    assert found.measured.left_out == {"trained on": 3, "validated on": 2}
    assert (found.measured.skipped, found.measured.unreadable) == (1, {"not_a_string": 1})
    assert found.measured.documents == 10 == 3 + 5 + 1 + 1
    assert found.measured.title == "the corpus"
    assert found.untold is None


def test_fitting_may_use_what_validated_and_nothing_that_is_measured(tmp_path: Path):
    found = splits(seen(tmp_path, "corpus.split_column=part"), "test", "validation")
    assert found.fitted is not None
    assert ids(found.measured) == ["4", "7"]
    assert ids(found.fitted) == ["10"]
    assert found.measured.left_out == {"trained on": 2, "validated on": 1}
    assert found.fitted.left_out == {"trained on": 1, "measured too": 1}
    assert (found.measured.documents, found.fitted.documents) == (7, 3)


@pytest.mark.parametrize(
    ("remembered", "untold"),
    [(None, "there is no training_documents"), (False, "lacks the documents of"), (True, "None")],
    ids=["nothing", "some", "all"],
)
def test_a_checkpoint_that_does_not_say_what_it_was_trained_on(tmp_path: Path, remembered: bool | None, untold: str):
    found = plan(tmp_path, a=[document(1, "rust"), document(2, "swift")])
    if remembered is not None:
        remember(found.checkpoint.path, [text("7")], [text("8")], remembered)
    assert untold in str(splits(found).untold)
    assert ids(split(found)) == ["1", "2"]


def test_nothing_left_is_refused(tmp_path: Path):
    found = plan(tmp_path, a=[document(1, "rust"), document(2, "swift"), document(3, "rust")])
    remember(found.checkpoint.path, [text("1"), text("2")], [text("3")])
    with pytest.raises(
        CorpusError,
        match=r"the corpus: all 3 documents with a label are left out: trained on 2, validated on 1\. "
        r".*training_documents",
    ):
        splits(found)


def test_a_file_that_is_no_such_file_is_refused(tmp_path: Path):
    found = plan(tmp_path, a=[document(1, "rust")])
    path = found.checkpoint.path / "training_documents.parquet"
    path.write_bytes(b"PAR1 cut off")
    with pytest.raises(CheckpointError, match=r"training_documents.parquet: can't be read"):
        splits(found)
    pq.write_table(pa.table({"digest": ["of text"]}), path)
    with pytest.raises(CheckpointError, match=r"expected the columns digest \(16 bytes\) and split"):
        splits(found)


def test_documents_whose_split_cannot_be_read_are_told(tmp_path: Path):
    found = plan(tmp_path, "corpus.split_column=part", a=[document(1, "rust", part="test")])
    with (tmp_path / "corpus" / "a.jsonl").open("a") as file:
        file.write('{"id": "2", "part": "test", "text": ...}\n')
    assert isinstance(found.job, EvaluationJob)
    again = make_plan(found.job)
    assert (split(again).documents, split(again).astray) == (1, 1)
