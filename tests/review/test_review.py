"""Out to Label Studio and back: each form is checked with Label Studio's own SDK, each figure counted again here."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from label_studio_sdk.label_interface import LabelInterface

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.corpus.labels import Labelled
from pipeline.errors import ConfigError, CorpusError
from pipeline.review.choosing import CONTROL, LEAST_SURE, LabelKind, ReviewSize, choose_documents
from pipeline.review.label_studio import labelling_config
from pipeline.review.review_export import ReviewFormat, review_uris, write_review
from pipeline.review.review_import import ReviewImported, import_review
from pipeline.storage.objects import Storage
from pipeline.tables.erasure import erase_documents
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tasks.classification import Classification
from tests.reviewable import LABELS, ONE, SEVERAL, Document, publish_corpus

Published = tuple[Snapshots, Manifest]
ANNOTATOR = {"id": 7, "email": "nobody@reviews.example", "first_name": "Nobody"}
PRIVATE = (b"nobody@reviews.example", b"Nobody", b"lead_time", b"a comment", b"completed_by")


def documents(count: int) -> list[Document]:
    return [
        Document(f"{n:03d}", f'text "{n}" <b>&amp; ü', (n % 7 / 3, n % 5 / 4 + n / 1e4, n % 11 / 5 - 1))
        for n in range(count)
    ]


@pytest.fixture(scope="module", params=[ONE, SEVERAL], ids=["one label", "several"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    made = documents(120)
    return publish_corpus(tmp_path_factory.mktemp("review"), {"a": made[:70], "b": made[70:]}, request.param)


def rows(table: Published) -> dict[str, dict[str, Any]]:
    snapshots, manifest = table
    tables = [pq.ParquetFile(snapshots.uri(file.path)).read() for file in manifest.files]
    return {row["id"]: row for read in tables for row in read.to_pylist()}


def margin(table: Published, row: dict[str, Any]) -> float:
    if "margin" in row:
        return float(row["margin"])
    thresholds = table[1].checkpoint["thresholds"]
    return float(min(abs(entry["score"] - thresholds[entry["label"]]) for entry in row["scores"]))


def chosen(table: Published, size: ReviewSize) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in choose_documents(*table, size).to_pylist()}


def test_the_least_sure_and_a_share_at_random(table: Published):
    found = chosen(table, ReviewSize(40, 0.25, None, seed=1))
    assert Counter(row["review_reason"] for row in found.values()) == {LEAST_SURE: 30, CONTROL: 10}
    margins = {id_: margin(table, row) for id_, row in rows(table).items()}
    control = {id_ for id_, row in found.items() if row["review_reason"] == CONTROL}
    by_margin = sorted(margins.keys() - control, key=lambda id_: margins[id_])
    assert {margins[id_] for id_ in by_margin[:30]} == {margins[id_] for id_ in found.keys() - control}
    assert max(margins[id_] for id_ in control) > margins[by_margin[30]]  # some of it is sure
    for id_, row in found.items():
        assert row["margin"] == pytest.approx(margins[id_])


def test_the_seed_decides_and_the_order_of_files_does_not(table: Published):
    size = ReviewSize(40, 0.25, None, seed=1)
    snapshots, manifest = table
    turned = replace(manifest, files=manifest.files[::-1])
    assert chosen(table, size) == chosen((snapshots, turned), size)
    assert chosen(table, size).keys() != chosen(table, replace(size, seed=2)).keys()


def test_a_label_in_doubt_has_so_many_at_most(tmp_path: Path):
    table = publish_corpus(tmp_path, {"a": documents(60)}, ONE)
    found = chosen(table, ReviewSize(60, 0.0, 4, seed=1))
    there = Counter(row["label"] for row in rows(table).values())
    assert Counter(row["predicted"] for row in found.values()) == {label: min(4, there[label]) for label in there}
    assert max(there.values()) > 4


def write(table: Published, path: Path, format_: ReviewFormat = "label-studio", documents: int = 30) -> Any:
    found = choose_documents(*table, ReviewSize(documents, 0.2, None, seed=1))
    return write_review(Storage(), review_uris(str(path), format_), format_, table[1], found)


def test_label_studio_s_own_sdk_takes_tasks_predictions_and_config(table: Published, tmp_path: Path):
    write(table, tmp_path / "review.json")
    interface = LabelInterface((tmp_path / "review.xml").read_text())
    interface.validate()
    assert interface.get_control("label").labels == list(LABELS)
    assert interface.validate_task(interface.generate_sample_task() and {"data": interface.generate_sample_task()})
    tasks = json.loads((tmp_path / "review.json").read_text())
    assert len(tasks) == 30
    there = rows(table)
    for task in tasks:
        data = task["data"]
        assert interface.validate_task({"data": data})
        (prediction,) = task["predictions"]
        assert interface.validate_prediction(prediction, return_errors=True) == []
        row = there[data["document_id"]]
        given = row["labels"] if "labels" in row else [row["label"]]
        assert [label for region in prediction["result"] for label in region["value"]["choices"]] == given
        assert hashlib.sha256(data["text"].encode()).hexdigest() == row["content_sha256"]
        assert prediction["model_version"] == f"{row['scoring_key']}-{row['decision_key']}"
    wrong = {"result": [tasks[0]["predictions"][0]["result"] or [{}]]}
    assert not interface.validate_prediction(wrong)


def test_a_label_may_be_any_text():
    kind = LabelKind(('a "b" & <c>', "ü"), several=False)
    interface = LabelInterface(labelling_config(kind))
    interface.validate()
    assert interface.get_control("label").labels == list(kind.labels)


def answered(path: Path, interface: LabelInterface, decide: Any) -> Path:
    """What Label Studio exports after people have decided; regions come from the SDK."""
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks):
        task |= {"id": number + 1, "drafts": [], "comment_text": "a comment"}
        task["annotations"] = []
        for labels in decide(number, task["data"]):
            if labels is None:
                task["annotations"].append({"result": [], "was_cancelled": True, "completed_by": ANNOTATOR})
                continue
            regions = [interface.get_control("label").label(labels)] if labels else []
            result = [region._dict() for region in regions]
            assert interface.validate_annotation({"result": result})
            task["annotations"].append(
                {"result": result, "was_cancelled": False, "completed_by": ANNOTATOR, "lead_time": 3.5}
            )
    answers = path.with_name("answers.json")
    answers.write_text(json.dumps(tasks))
    return answers


def imported(table: Published, answers: Path, target: Path) -> tuple[ReviewImported, list[dict[str, Any]]]:
    outcome = import_review(*table, str(answers), str(target))
    if target.suffix == ".jsonl":
        return outcome, [json.loads(line) for line in target.read_text().splitlines()]
    return outcome, pq.read_table(target).to_pylist()


def test_what_people_say_comes_back_without_who_said_it(table: Published, tmp_path: Path):
    write(table, tmp_path / "review.json")
    interface = LabelInterface((tmp_path / "review.xml").read_text())

    def decide(number: int, data: dict[str, Any]) -> list[list[str] | None]:
        predicted = data["predicted"] if isinstance(data["predicted"], list) else [data["predicted"]]
        special: dict[int, list[list[str] | None]] = {
            0: [["emu"], ["emu"], ["cat"]],  # most say emu
            1: [["cat"], ["dog"]],  # a tie
            2: [None],
            3: [],
        }
        return special.get(number, [["dog"]] if number % 3 == 0 else [predicted])

    answers = answered(tmp_path / "review.json", interface, decide)
    outcome, labelled = imported(table, answers, tmp_path / "labelled.parquet")
    data = {task["data"]["document_id"]: (n, task["data"]) for n, task in enumerate(json.loads(answers.read_text()))}
    assert outcome.left_out == {
        "a tie between people": 1,
        "skipped, or without an answer": 1,
        "nobody judged it": 1,
    }
    assert (len(labelled), outcome.documents) == (27, 27)
    several = "labels" in next(iter(rows(table).values()))
    right = changed = control = 0
    for row in labelled:
        number, sent = data[row["id"]]
        predicted = sent["predicted"] if several else [sent["predicted"]]
        label = row["label"] if several else [row["label"]]
        expected = ["emu"] if number == 0 else ["dog"] if number % 3 == 0 else predicted
        assert set(label) == set(expected)
        assert (row["text"], row["content_sha256"]) == (sent["text"], sent["content_sha256"])
        assert row["review_reason"] == sent["review_reason"]
        changed += set(label) != set(predicted)
        control += row["review_reason"] == CONTROL
        right += row["review_reason"] == CONTROL and set(label) == set(predicted)
    assert (outcome.changed, outcome.control, outcome.control_right) == (changed, control, right)
    assert 0 < changed < 27
    assert set(labelled[0]) == {"id", "text", "label", "review_reason", "content_sha256"}
    imported(table, answers, tmp_path / "labelled.jsonl")
    for path in (tmp_path / "labelled.parquet", tmp_path / "labelled.jsonl"):
        assert not [mark for mark in PRIVATE if mark in path.read_bytes()]
        assert b"nobody@reviews.example" in answers.read_bytes()
        read = corpus_of(path)
        assert {d.id: d.label for d in read} == {
            row["id"]: tuple(row["label"]) if several else row["label"] for row in labelled
        }


def corpus_of(path: Path) -> list[Any]:
    """As `train` and `evaluate` read it."""
    settings = LabelledCorpusSettings(uris=(str(path),), id_column="id", label_column="label", unlabelled="keep")
    return list(Labelled.open(Storage(), settings))


def test_lines_that_a_person_filled_in(table: Published, tmp_path: Path):
    write(table, tmp_path / "review.jsonl", "jsonl")
    several = "labels" in next(iter(rows(table).values()))
    lines = [json.loads(line) for line in (tmp_path / "review.jsonl").read_text().splitlines()]
    assert {line["label"] for line in lines} == {None}
    for line in lines[:10]:
        line["label"] = ["dog", "cat"] if several else "dog"
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    outcome, labelled = imported(table, tmp_path / "answers.jsonl", tmp_path / "labelled.parquet")
    assert {row["id"] for row in labelled} == {line["document_id"] for line in lines[:10]}
    assert all(row["label"] == (["cat", "dog"] if several else "dog") for row in labelled)
    assert sum(outcome.left_out.values()) == 20


def test_json_min(table: Published, tmp_path: Path):
    write(table, tmp_path / "review.json", documents=4)
    tasks = json.loads((tmp_path / "review.json").read_text())
    least = [
        task["data"] | {"id": n, "label": "emu", "annotator": 7, "annotation_id": n, "lead_time": 1.0}
        for n, task in enumerate(tasks)
    ]
    least[0]["label"] = {"choices": ["emu"]}
    (tmp_path / "min.json").write_text(json.dumps(least))
    _, labelled = imported(table, tmp_path / "min.json", tmp_path / "labelled.jsonl")
    assert {row["id"] for row in labelled} == {task["data"]["document_id"] for task in tasks}
    assert [row["label"] for row in labelled] == [["emu"] if isinstance(labelled[0]["label"], list) else "emu"] * 4


def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: Path):
    table = publish_corpus(tmp_path, {"a": documents(8)}, ONE)
    write(table, tmp_path / "review.jsonl", "jsonl", documents=3)
    lines = [json.loads(line) | {"label": "dog"} for line in (tmp_path / "review.jsonl").read_text().splitlines()]
    answers = tmp_path / "answers.jsonl"

    def refused(message: str, *changes: dict[str, Any]) -> None:
        answers.write_text("".join(json.dumps(line | change) + "\n" for line, change in zip(lines, changes)))  # noqa: B905
        with pytest.raises(CorpusError, match=message):
            import_review(*table, str(answers), str(tmp_path / "labelled.parquet"))

    refused(r"line 2: the label 'owl' is none of the table's; it has 'cat', 'dog', 'emu'", {}, {"label": "owl"})
    refused(r"line 1: has 2 labels \(.*\), and the table gives one", {"label": ["cat", "dog"]})
    refused("line 1: label is 3; expected a label, or null", {"label": 3})
    refused("line 1: lacks document_id, text or content_sha256", {"document_id": None})
    refused("holds no document that people agree on", {"label": None})
    refused("holds no document that people agree on", {"text": "another"})
    answers.write_text("{")
    refused("no document that people agree on")
    assert not (tmp_path / "labelled.parquet").exists()
    with pytest.raises(ConfigError, match=r"expected a file that ends in \.parquet or \.jsonl"):
        import_review(*table, str(answers), str(tmp_path / "labelled.csv"))
    with pytest.raises(ConfigError, match=r"expected a file that ends in \.json, for --format label-studio"):
        review_uris("review.jsonl", "label-studio")


def test_what_was_erased_meanwhile_does_not_come_back(tmp_path: Path):
    table = publish_corpus(tmp_path, {"a": documents(8)}, ONE)
    write(table, tmp_path / "review.jsonl", "jsonl", documents=8)
    lines = [json.loads(line) | {"label": "dog"} for line in (tmp_path / "review.jsonl").read_text().splitlines()]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    erase_documents(table[0], ["003"], lambda _: None)
    outcome, labelled = imported((table[0], table[0].get()), tmp_path / "answers.jsonl", tmp_path / "labelled.parquet")
    assert "003" not in {row["id"] for row in labelled}
    assert outcome.left_out == {"erased from the table since": 1}


def test_a_text_that_changed_is_left_out(tmp_path: Path):
    table = publish_corpus(tmp_path, {"a": documents(8), "b": documents(9)[8:]}, ONE)
    (tmp_path / "corpus/part=b/a.parquet").unlink()
    exported = write(table, tmp_path / "review.json", documents=9)
    assert (sum(exported.reasons.values()), exported.texts_missing) == (8, 1)
    (tmp_path / "corpus/part=a/a.parquet").unlink()
    with pytest.raises(CorpusError, match="not one of 9 texts is in the corpus as it was scored"):
        write(table, tmp_path / "other.json", documents=9)
    assert not (tmp_path / "other.json").exists()
    assert not (tmp_path / "other.xml").exists()


def test_a_table_without_labels_is_refused(tmp_path: Path):
    table = publish_corpus(tmp_path, {"a": [Document("1", "x", (0.5,))]}, Classification("regression", ("value",)))
    with pytest.raises(ConfigError, match="has no labels with scores"):
        choose_documents(*table, ReviewSize(1, 0.0, None, 0))


def test_no_label_below_its_threshold_is_in_doubt_by_the_most_probable(tmp_path: Path):
    unsure = Classification("single_label", LABELS, {"cat": 0.99})
    table = publish_corpus(tmp_path, {"a": documents(20)}, unsure)
    found = chosen(table, ReviewSize(20, 0.0, 1, 0))
    best = {id_: max(row["scores"], key=lambda entry: entry["score"])["label"] for id_, row in rows(table).items()}
    assert Counter(best[id_] for id_ in found) == dict.fromkeys(set(best.values()), 1)
    assert None in {row["predicted"] for row in found.values()}
