"""Labels and logits come together by source and position; what is wrong with labels is said before anything is computed."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.sample import CHECKPOINT
from pipeline.config import EvaluationJob, parse_settings
from pipeline.dataflow.examples import Split, classification, join, only, read_splits
from pipeline.dataflow.plan import Plan, make_plan
from pipeline.errors import CorpusError
from pipeline.schema import DOCUMENT_LOGITS, fragment_schema

Record = dict[str, Any]


def checkpoint(folder: Path, **rookery: Any) -> Path:
    """The sample's, by links, with a rookery.json of its own: its labels are ethereum, kubernetes, python, rust, swift."""
    path = folder / "checkpoint"
    path.mkdir()
    for file in CHECKPOINT.iterdir():
        if file.name != "rookery.json":  # what is written through a link changes the sample's own
            (path / file.name).symlink_to(file)
    (path / "rookery.json").write_text(json.dumps(rookery))
    return path


def plan(folder: Path, *overrides: str, problem_type: str = "single_label", **files: list[Record]) -> Plan:  # fmt: skip
    for name, records in files.items():
        path = folder / "corpus" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"text": "x"} | record) + "\n" for record in records))
    settings = [
        f"corpus.uris={folder}/corpus", "corpus.id_column=id", "corpus.label_column=label",
        f"checkpoint.uri={checkpoint(folder, problem_type=problem_type)}", f"evaluation.output={folder}/out",
    ]  # fmt: skip
    return make_plan(parse_settings(EvaluationJob, "", [*settings, *overrides], "job"))


def splits(found: Plan, *names: str) -> list[Split]:
    assert isinstance(found.job, EvaluationJob)
    return read_splits(found, found.job.corpus, list(names) or ["test"])


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
        found.fragments.write(
            id_, pa.Table.from_pylist(rows[::-1], schema=fragment_schema(DOCUMENT_LOGITS))
        )


def document(id_: int, label: Any, **others: Any) -> Record:
    return {"id": str(id_), "label": label} | others


def test_labels_meet_logits_by_source_and_position(tmp_path: Path):
    found = plan(
        tmp_path,
        a=[document(1, "rust"), document(22, "swift"), document(333, "rust")],
        b=[document(4, "python"), document(55, "ethereum")],
    )
    write_fragments(found)
    (split,) = splits(found)
    examples = join(found, split).examples
    names = classification(found).labels
    labels = {int(n): names[row.argmax()] for n, row in zip(examples.logits_NL[:, 0], examples.truth_NL, strict=True)}  # fmt: skip
    assert labels == {1: "rust", 22: "swift", 333: "rust", 4: "python", 55: "ethereum"}
    assert examples.tokens_N.tolist() == examples.logits_NL[:, 0].tolist()
    assert (examples.truth_NL.sum(1) == 1).all()


def test_splits_are_apart_and_units_without_them_are_not_labelled(tmp_path: Path):
    found = plan(
        tmp_path, "corpus.split_column=part",
        a=[document(1, "rust", part="train")],
        b=[document(2, "rust", part="test"), document(3, "swift", part="train")],
        c=[document(4, "rust", part="validation")],
    )  # fmt: skip
    test, validation = splits(found, "test", "validation")
    assert (len(test), len(validation)) == (1, 1)
    narrowed = only(found, [test, validation])
    assert [u.file.uri.rpartition("/")[2] for u in narrowed.units] == ["b.jsonl", "c.jsonl"]
    assert len(narrowed.missing) == 2
    write_fragments(found)
    assert join(found, test).examples.logits_NL[:, 0].tolist() == [2]


def test_a_hive_key_can_be_the_label_or_the_split(tmp_path: Path):
    files: Any = {
        "part=test/topic=rust/a": [{"id": "1"}],
        "part=train/topic=swift/a": [{"id": "2"}],
    }
    found = plan(tmp_path, "corpus.label_column=topic", "corpus.split_column=part", **files)
    (test,) = splits(found)
    assert test.labels == ["rust"]


def test_documents_that_failed_are_counted_and_left_out(tmp_path: Path):
    found = plan(tmp_path, a=[document(1, "rust"), document(2, "swift"), document(3, "rust")])
    write_fragments(found, failed=("2",))
    joined = join(found, splits(found)[0])
    assert joined.examples.logits_NL[:, 0].tolist() == [3, 1]
    assert joined.failed == {"null_text": 1}


def test_a_split_of_which_nothing_could_be_labelled_is_an_error(tmp_path: Path):
    found = plan(tmp_path, a=[document(1, "rust")])
    write_fragments(found, failed=("1",))
    with pytest.raises(CorpusError, match=r"not one of its 1 documents could be labelled \(null_"):
        join(found, splits(found)[0])


def test_an_empty_list_is_no_label_where_there_may_be_several(tmp_path: Path):
    rows = [document(1, ["rust", "swift"]), document(2, []), document(3, ["rust"])]
    found = plan(tmp_path, "corpus.unlabelled=keep", problem_type="multi_label", a=rows)
    write_fragments(found)
    (split,) = splits(found)
    examples = join(found, split).examples
    order = np.argsort(examples.logits_NL[:, 0])
    assert examples.truth_NL[order].tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("records", "overrides", "problem_type", "message"),
    [
        ([document(1, "cobol")], [], "single_label", "'test': 1 documents have labels that the checkpoint does not know: cobol"),
        ([document(1, ["rust", "cobol"])], [], "multi_label", "the checkpoint does not know: cobol"),
        ([document(1, "rust"), document(2, [])], [], "single_label", "1 of 2 documents of the split 'test' have no label .* '2'"),
        ([document(1, "rust"), document(2, None)], [], "multi_label", "1 of 2 documents of the split 'test' have no label .* '2'"),
        ([document(1, None)], ["corpus.unlabelled=skip"], "single_label", "not one of 1 documents .* has a label there"),
        ([{"id": "1"}], [], "single_label", "'label': not one of 1 documents"),
        ([document(1, float("nan"))], [], "single_label", "document '1': column 'label' is nan; expected a finite number"),
        ([document(1, {"a": 1})], [], "multi_label", "expected a string, a list of strings, or a number"),
        ([document(1, "rust", part="dev")], ["corpus.split_column=part"], "single_label",
         r"'part': no document is in the split 'test'; found 'dev' \(1\); name the splits with evaluation.test"),
        ([document(1, "rust")], ["corpus.split_column=part"], "single_label", "in the split 'test'; found None"),
    ],
    ids=["unknown", "one of two unknown", "empty list", "null", "nothing but nulls", "no column", "NaN", "an object",
         "missing split", "no split column"],
)  # fmt: skip
def test_what_is_wrong_with_labels_is_said(
    tmp_path: Path, records: list[Record], overrides: list[str], problem_type: str, message: str
):
    found = plan(tmp_path, *overrides, problem_type=problem_type, a=records)
    with pytest.raises(CorpusError, match=message):
        splits(found)


def test_documents_without_a_label_can_be_left_out(tmp_path: Path):
    rows = [document(1, "rust"), document(2, None), document(3, "")]
    (split,) = splits(plan(tmp_path, "corpus.unlabelled=skip", a=rows))
    assert (len(split), split.skipped) == (1, 2)
    assert [asdict(row) for rows in split.units.values() for row in rows] == [
        {"position": 0, "id": "1", "label": "rust", "split": None}
    ]
