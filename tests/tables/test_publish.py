"""Snapshots from fragments made by hand: no encoder, no Ray."""

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import (
    ConfigError,
    CorpusError,
    ErrorBudgetError,
    RetryableError,
    RookeryError,
)
from pipeline.schema import DOCUMENT_LOGITS, DOCUMENT_RECORD
from pipeline.storage.objects import Storage
from pipeline.tables import failures
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.file_lists import file_lists
from pipeline.tables.fragments import Fragments, fragment
from pipeline.tables.groups import TableLayout, label_counts
from pipeline.tables.object_names import object_name
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import Publication, check_current, is_current, publish
from pipeline.tables.snapshots import Failure, Manifest, Snapshots
from pipeline.tables.source_units import SourceUnit
from pipeline.tasks.classification import Classification
from pipeline.tasks.question_answering import ANSWERS as ANSWERS_FIELD
from pipeline.tasks.token_classification import ENTITIES as ENTITIES_FIELD

DECISION = Classification("single_label", ("cat", "dog"))
LAYOUT = TableLayout(partition_by=("part",), carried=("day",), buckets=4)
RULES = PublicationRules(ErrorBudget(1.0), duplicate_ids="refuse")
CHECKPOINT = {"uri": "s3://m/model"}
RUN = {"run_id": "test"}


class Table:
    """A table on local disk, and units with made-up logits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.snapshots = Snapshots(Storage(), str(folder))
        self.fragments = Fragments(Storage(), str(folder), "key", DOCUMENT_LOGITS)

    def unit(self, number: int, part: str | None = "a", failed: bool = False) -> SourceUnit:
        """Two documents; the second one is an error if `failed`."""
        ids = [f"{number}-{n}" for n in "xy"]
        rows = [
            {
                "id": id_,
                "position": i,
                "n_tokens": 3,
                "n_windows": 1,
                "truncated": False,
                "content_sha256": "0" * 64,
            }
            for i, id_ in enumerate(ids)
        ]
        if failed:
            rows[1] |= {"stage": "read", "reason": "null_text", "message": "the text is null"}
        logits = pa.array([[number, 1], [1, number]], DOCUMENT_LOGITS.type)
        records = pa.Table.from_struct_array(pa.array(rows, DOCUMENT_RECORD))
        unit = f"{number:032d}"
        self.fragments.write(unit, fragment(records, logits, DOCUMENT_LOGITS))
        return SourceUnit(unit, f"s3://b/{number}.jsonl", (("part", part), ("day", "1")), 2)

    def documents(self, number: int, ids: list[str], failed: bool = False) -> SourceUnit:
        """One document for each id; all are errors if `failed`."""
        error = {"stage": "read", "reason": "null_text", "message": "the text is null"}
        fine = {"n_tokens": 3, "n_windows": 1, "truncated": False, "content_sha256": "0" * 64}
        rows = [{"id": id_, "position": position} | (error if failed else fine) for position, id_ in enumerate(ids)]
        logits = pa.array([[1.0, 2.0]] * len(ids), DOCUMENT_LOGITS.type)
        records = pa.Table.from_struct_array(pa.array(rows, DOCUMENT_RECORD))
        unit = f"{number:032d}"
        self.fragments.write(unit, fragment(records, logits, DOCUMENT_LOGITS))
        return SourceUnit(unit, f"s3://b/{number}.jsonl", (("part", "a"), ("day", "1")), len(ids))

    def publish(self, *units: SourceUnit, partial: bool = False, task: Classification = DECISION) -> Manifest:
        return publish(
            self.snapshots,
            self.fragments,
            self.publication(*units, partial=partial, task=task),
            RUN,
        )

    def publication(self, *units: SourceUnit, partial: bool = False, task: Classification = DECISION) -> Publication:
        return Publication(units, LAYOUT, task, "key", partial, RULES, CHECKPOINT)

    def rows(self, snapshot: int, kind: str = "data") -> list[dict[str, object]]:
        glob = f"{self.folder}/{kind}/snapshot={snapshot:020d}/**/*.parquet"
        rows: list[dict[str, object]] = (
            duckdb.sql(f"from read_parquet('{glob}', hive_partitioning = true) order by id")
            .to_arrow_table()
            .to_pylist()
        )
        return rows


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "table")


def tree(folder: Path) -> dict[str, bytes]:
    """All objects below a folder; in lists of files, which alone have absolute URIs, without the table's."""
    objects = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: relative(data) if is_file_list(name) else data for name, data in objects.items()}


def is_file_list(path: str) -> bool:
    name = object_name(path)
    return name is not None and name.kind == "lists of files"


def relative(file_list: bytes) -> bytes:
    return re.sub(rb'(?:file|s3)://[^\n"]*?/(?=data/snapshot=)', b"", file_list)


def file_list_paths(*snapshots: int) -> set[str]:
    endings = [*file_lists("", [], [])]
    return {f"_snapshots/{snapshot:020d}{ending}" for snapshot in snapshots for ending in endings}


def test_every_document_in_one_row(table: Table):
    manifest = table.publish(table.unit(1), table.unit(2, "b", failed=True), table.unit(3, None))
    assert manifest.counts == {
        "documents": 6,
        "predictions": 5,
        "errors": 1,
        "unlabelled": 0,
        "duplicate_ids": 0,
        "erased": 0,
        "units": 3,
        "source_files": 3,
    }
    assert [row["id"] for row in table.rows(1)] == ["1-x", "1-y", "2-x", "3-x", "3-y"]
    (error,) = table.rows(1, "errors")
    assert (error["id"], error["stage"], error["reason"], error["source_uri"]) == (
        "2-y",
        "read",
        "null_text",
        "s3://b/2.jsonl",
    )


def test_a_row(table: Table):
    table.publish(table.unit(4, "a b"))
    row = table.rows(1)[0]
    score = 1 / (1 + np.exp(-3.0))
    assert row["scores"] == [
        {"label": "cat", "score": pytest.approx(score)},
        {"label": "dog", "score": pytest.approx(1 - score)},
    ]
    assert {key: row[key] for key in row if key != "scores"} == {
        "id": "4-x",
        "source_uri": "s3://b/4.jsonl",
        "source_position": 0,
        "content_sha256": "0" * 64,
        "label": "cat",
        "score": pytest.approx(score),
        "margin": pytest.approx(2 * score - 1),
        "n_tokens": 3,
        "n_windows": 1,
        "truncated": False,
        "scoring_key": "key",
        "decision_key": DECISION.key,
        "day": "1",
        "part": "a b",
        "snapshot": row["snapshot"],
    }


@pytest.mark.parametrize(
    ("task", "column", "values"),
    [
        (Classification("multi_label", ("cat", "dog")), "labels", [["cat", "dog"], ["cat", "dog"]]),
        (
            Classification("multi_label", ("cat", "dog"), {"cat": 0.9}),
            "labels",
            [["cat", "dog"], ["dog"]],
        ),
        (
            Classification("multi_label", ("cat", "dog"), {"cat": 1.0, "dog": 1.0}),
            "labels",
            [[], []],
        ),
        (Classification("regression", ("value",)), "value", [4.0, 1.0]),
    ],
    ids=["multi-label", "threshold", "no label", "regression"],
)
def test_what_other_problem_types_say_of_a_document(
    table: Table, task: Classification, column: str, values: list[object]
):
    manifest = table.publish(table.unit(4), task=task)
    assert [row[column] for row in table.rows(1)] == values
    assert "label" not in table.rows(1)[0]
    counted = [label for labels in values if isinstance(labels, list) for label in labels]
    assert manifest.labels == {label: counted.count(label) for label in sorted(set(counted))}


def test_rows_are_sorted_by_id_in_each_file(table: Table):
    manifest = table.publish(*(table.unit(n) for n in (9, 3, 7, 1, 5)))
    for file in manifest.files:
        ids = duckdb.sql(f"select id from '{table.folder}/{file.path}'").fetchall()
        assert ids == sorted(ids)
        assert (table.folder / file.path).stat().st_size == file.bytes


def test_publishing_again_publishes_nothing(table: Table):
    units = [table.unit(1), table.unit(2)]
    first = table.publish(*units)
    before = tree(table.folder)
    assert is_current(table.snapshots, table.publication(*units)) == first
    assert is_current(table.snapshots, table.publication(*reversed(units))) == first
    assert tree(table.folder) == before


def test_files_that_did_not_change_are_kept(table: Table):
    units = [table.unit(n) for n in range(1, 9)]
    first = table.publish(*units)
    second = table.publish(*units, table.unit(9, "new"))
    assert second.parent == first.snapshot
    assert [file.state for file in second.files if file.partition == {"part": "new"}] == ["added"]
    assert {file.state for file in second.files if file.partition == {"part": "a"}} == {"kept"}
    assert len(table.rows(2)) == 18
    assert second.removed == []


def test_a_kept_file_that_somebody_removed_is_written_again(table: Table):
    units = [table.unit(1), table.unit(2, "b")]
    first = table.publish(*units)
    (gone,) = (file for file in first.files if file.partition == {"part": "b"})
    (table.folder / gone.path).unlink()
    second = table.publish(*units, table.unit(3, "c"))
    states = {file.partition["part"]: file.state for file in second.files}
    assert states == {"a": "kept", "b": "added", "c": "added"}
    assert gone.sha256 in {file.sha256 for file in second.files}
    assert second.removed == []
    assert len(table.rows(2)) == 6


def test_a_file_with_another_bucket_s_number_is_not_kept(table: Table):
    """Its name and the manifest would say something else than the layout."""
    units = [table.unit(n) for n in range(1, 4)]
    table.publish(*units)
    halved = replace(table.publication(*units), layout=replace(LAYOUT, buckets=None))
    manifest = publish(table.snapshots, table.fragments, halved, RUN)
    assert {(file.bucket, file.state) for file in manifest.files} == {(1, "added")}


@pytest.mark.parametrize(
    ("damage", "found"),
    [(Path.unlink, "nothing"), (lambda path: path.write_bytes(b"x"), "1 bytes")],
    ids=["gone", "short"],
)
def test_a_file_that_is_not_as_long_as_written_stops_publishing(
    table: Table, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object], found: str
):
    unit = table.unit(1, failed=True)
    racing(table, lambda: damage(next((table.folder / "errors").rglob("*.parquet"))), monkeypatch)
    with pytest.raises(RookeryError, match=f"expected .* bytes, found {found}; nothing was"):
        table.publish(unit)
    assert table.snapshots.published() == []


def test_a_document_that_left_the_corpus_leaves_the_table(table: Table):
    one, two = table.unit(1, "a"), table.unit(2, "b")
    first = table.publish(one, two)
    second = table.publish(one)
    assert [row["id"] for row in table.rows(2)] == ["1-x", "1-y"]
    assert second.removed == [file.path for file in first.files if file.partition == {"part": "b"}]
    assert len(table.rows(1)) == 4


def test_a_new_threshold_needs_no_new_fragment(table: Table):
    unit = table.unit(2)
    table.publish(unit)
    strict = replace(DECISION, thresholds={"cat": 0.99, "dog": 0.0})
    manifest = table.publish(unit, task=strict)
    assert manifest.snapshot == 2
    assert [row["label"] for row in table.rows(2)] == [None, "dog"]


def test_a_partial_snapshot_is_marked_and_is_not_the_latest(table: Table):
    one, two = table.unit(1), table.unit(2)
    table.publish(one, two)
    partial = table.publish(one, partial=True)
    assert partial.partial
    latest = table.snapshots.latest()
    assert latest is not None
    assert latest.snapshot == 1
    assert json.loads((table.folder / "_latest.json").read_text())["snapshot"] == 1


def test_a_missing_fragment_stops_publishing(table: Table):
    unit = SourceUnit("f" * 32, "s3://b/x", (("part", "a"),), 1)
    with pytest.raises(RetryableError, match="1 of 2 units have no fragment"):
        table.publish(table.unit(1), unit)
    assert table.snapshots.published() == []


def test_a_fragment_with_too_few_rows_stops_publishing(table: Table):
    with pytest.raises(RookeryError, match="planned 3 documents"):
        table.publish(replace(table.unit(1), documents=3))
    assert table.snapshots.published() == []


def test_the_manifest_reads_back(table: Table):
    manifest = table.publish(table.unit(1))
    assert table.snapshots.read(1) == manifest


class Killed(Exception):
    pass


STEPS = ["tally", "claim", "units", "data", "errors", "manifest"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_dies_while_publishing_is_finished_by_the_next(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str
):
    """Kills at each object that publishing writes, then publishes again: the same bytes as undisturbed."""
    marks = {
        "tally": "/_units/tallies/",
        "claim": ".claim",
        "units": ".units",
        "data": "/data/",
        "errors": "/errors/",
        "manifest": ".json",
    }
    really = Storage.put_if_absent

    def dies(self: Storage, uri: str, data: bytes) -> bool:
        hit = marks[step] in uri and "/_units/key/" not in uri
        if hit and when == "before":
            raise Killed
        result = really(self, uri, data)
        if hit:
            raise Killed
        return result

    units = [table.unit(1, failed=True), table.unit(2, "b")]
    monkeypatch.setattr(Storage, "put_if_absent", dies)
    with pytest.raises(Killed):
        table.publish(*units)
    monkeypatch.undo()
    assert len(table.snapshots.published()) == (step, when).count("manifest") * (when == "after")
    is_current(table.snapshots, table.publication(*units)) or table.publish(*units)
    undisturbed = Table(tmp_path / "undisturbed")
    undisturbed.publish(undisturbed.unit(1, failed=True), undisturbed.unit(2, "b"))
    table.snapshots.point_to_latest()
    assert tree(table.folder) == tree(undisturbed.folder)


def test_a_hint_that_was_left_behind_is_put_right(table: Table):
    first, second = table.publish(table.unit(1)), table.publish(table.unit(1), table.unit(2))
    hint = table.folder / "_latest.json"
    right = hint.read_bytes()
    assert json.loads(right)["snapshot"] == second.snapshot
    table.snapshots.publish(first)  # of two runs at once the older one writes last
    assert hint.read_bytes() == right
    hint.unlink()  # a run died before it
    table.snapshots.point_to_latest()
    assert hint.read_bytes() == right


def test_other_content_never_shares_a_folder(table: Table):
    """A run died with a claim; another one with other content takes the next number."""
    table.snapshots.claim("content of the dead run")
    assert table.publish(table.unit(1)).snapshot == 2
    assert table.snapshots.claim("content of the dead run") == 3


def test_the_same_content_takes_up_its_claim(table: Table):
    assert table.snapshots.claim("content") == table.snapshots.claim("content") == 1


def racing(table: Table, other: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs `other` once, between this run's files and its manifest."""
    really, pending = Snapshots.publish, [other]

    def publish_later(self: Snapshots, manifest: Manifest) -> Manifest:
        if pending:
            pending.pop()()
        return really(self, manifest)

    monkeypatch.setattr(Snapshots, "publish", publish_later)


def test_the_same_job_twice_at_once_publishes_once(table: Table, monkeypatch: pytest.MonkeyPatch):
    unit = table.unit(1)
    racing(table, lambda: table.publish(unit), monkeypatch)
    assert table.publish(unit).snapshot == 1
    assert table.snapshots.published() == [1]


def test_two_jobs_at_once_both_publish_whole(table: Table, monkeypatch: pytest.MonkeyPatch):
    one, two = table.unit(1), table.unit(2)
    racing(table, lambda: table.publish(two), monkeypatch)
    table.publish(one)
    assert table.snapshots.published() == [1, 2]
    assert [row["id"] for row in table.rows(1)] == ["1-x", "1-y"]
    assert [row["id"] for row in table.rows(2)] == ["2-x", "2-y"]


def publish_within(table: Table, max_errors: float, *units: SourceUnit) -> Manifest:
    publication = replace(table.publication(*units), rules=PublicationRules(ErrorBudget(max_errors), "refuse"))
    return publish(table.snapshots, table.fragments, publication, RUN)


def four_units_with_two_errors(table: Table) -> list[SourceUnit]:
    """Eight documents."""
    return [
        table.unit(number, part, failed)
        for number, part, failed in ((1, "a", True), (2, "a", False), (3, "b", True), (4, "c", False))
    ]


def but_tallies(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(folder).items() if "_units/tallies/" not in name}


@pytest.mark.parametrize("max_errors", [2, 3, 0.25, 1.0], ids=str)
def test_as_many_errors_as_the_job_allows_are_published(table: Table, max_errors: float):
    units = four_units_with_two_errors(table)
    assert publish_within(table, max_errors, *units).counts["errors"] == 2


@pytest.mark.parametrize(
    ("max_errors", "allowed"),
    [(1, "1"), (0, "0"), (0.24, "24% of them"), (0.0, "0% of them")],
    ids=["count", "none", "share", "no share"],
)
def test_more_errors_than_the_job_allows_stop_before_anything_is_claimed(table: Table, max_errors: float, allowed: str):
    units = four_units_with_two_errors(table)
    before = tree(table.folder)
    with pytest.raises(ErrorBudgetError) as stopped:
        publish_within(table, max_errors, *units)
    assert str(stopped.value) == (
        f"{table.folder}: 2 of 8 documents could not be labelled, max_errors allows {allowed}. Nothing was published; "
        "finished units are kept.\n  null_text (read) 2, such as id '1-y' in s3://b/1.jsonl at 1: the text is null"
    )
    assert stopped.value.exit_code == 4
    assert but_tallies(table.folder) == before


def test_without_one_prediction_nothing_is_published(table: Table):
    """Whatever max_errors says."""
    unit = table.documents(1, ["a", "b"], failed=True)
    with pytest.raises(ErrorBudgetError, match="not one of 2 documents could be labelled"):
        publish_within(table, 1.0, unit)
    assert table.snapshots.published() == []


@pytest.mark.parametrize("units", [0, 1], ids=["no unit", "a unit without a document"])
def test_a_corpus_without_a_document_is_refused(table: Table, units: int):
    with pytest.raises(CorpusError, match="the corpus has no document"):
        publish_within(table, 1.0, *[table.documents(1, [])][:units])
    assert table.snapshots.published() == []


def test_errors_of_groups_that_did_not_change_count_too(table: Table):
    """Their tallies are kept: only the fragments of what changed are read."""
    units = four_units_with_two_errors(table)
    table.publish(*units)
    added = table.unit(5, "new", failed=True)
    for unit in units:
        Path(table.fragments.uri(unit.id)).write_bytes(b"not read")
    with pytest.raises(ErrorBudgetError, match=r"3 of 10 documents [^\n]*\n  null_text \(read\) 3"):
        publish_within(table, 2, *units, added)
    assert table.snapshots.published() == [1]
    manifest = publish_within(table, 3, *units, added)
    assert manifest.counts["errors"] == 3
    (failure,) = manifest.failures
    assert (failure.documents, failure.example["id"]) == (3, "1-y")


def test_the_rules_are_no_part_of_the_content_but_judge_what_is_there(table: Table):
    units = four_units_with_two_errors(table)
    first = publish_within(table, 2, *units)
    loose = table.publication(*units)
    assert is_current(table.snapshots, loose) == first
    check_current(table.snapshots, table.fragments, loose, first)
    strict = replace(loose, rules=PublicationRules(ErrorBudget(1), "refuse"))
    with pytest.raises(ErrorBudgetError, match=r"allows 1\. Snapshot 1, which .* stays as it is\.\n  null_"):
        check_current(table.snapshots, table.fragments, strict, first)


def test_failures_are_the_same_before_and_after_publishing(table: Table):
    units = four_units_with_two_errors(table)
    before = list(failures.failures_of_units(table.fragments, units))
    manifest = table.publish(*units)
    after = list(failures.failures_of_snapshot(table.snapshots, manifest))
    assert pa.concat_tables(before).to_pylist() == pa.concat_tables(after).to_pylist()
    for tables in (before, after):
        assert (
            failures.merge_failures(f for table in tables for f in failures.count_failures(table)) == manifest.failures
        )
    assert manifest.failures == [
        Failure(
            "read",
            "null_text",
            2,
            {
                "id": "1-y",
                "source_uri": "s3://b/1.jsonl",
                "source_position": 1,
                "message": "the text is null",
            },
        )
    ]


@pytest.mark.parametrize(
    ("reason", "file", "ids"),
    [
        (None, None, ["1-y", "2-y", "3-y"]),
        ("null_text", None, ["1-y", "2-y", "3-y"]),
        ("null", None, []),
        (None, "s3://b/2.jsonl", ["2-y"]),
        (None, "/3.", ["3-y"]),
        ("null_text", "nowhere", []),
    ],
)
def test_failures_are_chosen_by_reason_and_file(table: Table, reason: str | None, file: str | None, ids: list[str]):
    units = [table.unit(number, failed=True) for number in range(1, 4)]
    found = failures.filter_failures(failures.failures_of_units(table.fragments, units), reason, file)
    assert [row["id"] for rows in found for row in rows.to_pylist()] == ids


ENTITIES = [
    [{"label": "bird"}, {"label": "bird"}, {"label": "tree"}],
    [{"label": "bird"}],
    [],
]
ANSWERS = [
    [{"question": "who?", "answer": "a"}, {"question": "why?", "answer": None}],
    [{"question": "who?", "answer": None}, {"question": "why?", "answer": None}],
]


@pytest.mark.parametrize(
    ("column", "values", "labels", "unlabelled"),
    [
        ("label", ["a", None, "b", "a"], {"a": 2, "b": 1}, 1),
        ("label", [None], {}, 1),
        ("labels", [["a", "b"], [], ["b"]], {"a": 1, "b": 2}, 1),
        ("entities", ENTITIES, {"bird": 2, "tree": 1}, 1),
        ("answers", ANSWERS, {"who?": 1}, 1),
        ("value", [1.0, 2.0], {}, 0),
        ("label", [], {}, 0),
    ],
)
def test_documents_are_counted_by_label_and_without_one(
    column: str, values: list[object], labels: dict[str, int], unlabelled: int
):
    types = {"label": pa.string(), "entities": ENTITIES_FIELD.type, "answers": ANSWERS_FIELD.type}
    array = pa.chunked_array([pa.array(values, types.get(column))])
    assert label_counts(pa.table({column: array})) == (labels, unlabelled)


def test_a_snapshot_says_how_many_documents_have_no_label(table: Table):
    strict = replace(DECISION, thresholds={"cat": 0.99, "dog": 0.0})
    units = [table.unit(1), table.unit(2), table.unit(9, "b")]
    for planned in (
        units,
        [*units, table.unit(3, "c")],
    ):  # the second one copies files of the first
        manifest = table.publish(*planned, task=strict)
        given: list[tuple[str | None, int]] = duckdb.sql(
            f"select label, count(*) from '{table.folder}/data/snapshot={manifest.snapshot:020d}/**/*.parquet' "
            "group by 1"
        ).fetchall()
        counts = manifest.labels | {None: manifest.counts["unlabelled"]}
        assert counts == dict(given)
        assert sum(counts.values()) == manifest.counts["predictions"]
    assert {file.state for file in manifest.files} == {"added", "kept"}


def test_a_table_that_was_moved_goes_on(table: Table, tmp_path: Path):
    units = [table.unit(1), table.unit(2, "b", failed=True)]
    first = table.publish(*units)
    before = tree(table.folder)
    for name, data in before.items():
        if name.endswith(".json"):
            assert str(table.folder).encode() not in data
    moved = Table(Path(shutil.copytree(table.folder, tmp_path / "elsewhere" / "moved")))
    shutil.rmtree(table.folder)
    assert is_current(moved.snapshots, moved.publication(*units)) == first
    moved.snapshots.point_to_latest()
    assert tree(moved.folder) == before
    hint = json.loads((moved.folder / "_latest.json").read_text())
    assert json.loads((moved.folder / hint["manifest"]).read_text())["snapshot"] == 1
    assert len(duckdb.sql(f"from '{moved.folder}/{hint['data']}**/*.parquet'").fetchall()) == 3
    second = moved.publish(*units, moved.unit(3, "c"))
    assert {file.partition["part"]: file.state for file in second.files} == {"a": "kept", "b": "kept", "c": "added"}
    assert len(moved.rows(2)) == 5


def test_a_manifest_of_version_1_is_read_and_published_anew(table: Table):
    """It counts neither unlabelled documents nor ids, so its content is judged again."""
    unit = table.unit(1)
    table.publish(unit)
    path = Path(table.snapshots.manifest_uri(1))
    tree = json.loads(path.read_text())
    for name in ("failures", "checkpoint", "columns", "error_columns"):
        del tree[name]
    for name in ("unlabelled", "duplicate_ids"):
        del tree["counts"][name]
    for file in tree["files"]:
        del file["unlabelled"]
    path.write_text(json.dumps(tree | {"version": 1, "content": "of version 1"}))
    assert table.snapshots.read(1).counts["documents"] == 2
    second = table.publish(unit)
    assert (second.snapshot, [file.state for file in second.files]) == (2, ["added"])
    path.write_text(json.dumps(tree | {"version": 3}))
    with pytest.raises(ConfigError, match="manifest of version 3, and this Rookery knows 2"):
        table.snapshots.read(1)


def test_the_manifest_tells_of_the_checkpoint_and_the_columns(table: Table):
    manifest = table.publish(table.unit(1, failed=True))
    assert manifest.checkpoint == {
        "uri": "s3://m/model",
        "problem_type": "single_label",
        "labels": ["cat", "dog"],
        "temperature": 1.0,
        "thresholds": {"cat": 0.0, "dog": 0.0},
    }
    for kind, columns in (("data", manifest.columns), ("errors", manifest.error_columns)):
        glob = f"{table.folder}/{kind}/**/*.parquet"
        shown = duckdb.sql(f"describe from read_parquet('{glob}', hive_partitioning = true)")
        names = [row[0] for row in shown.fetchall() if row[0] != "snapshot"]
        assert [column["name"] for column in columns] == names
        assert all(column["meaning"] and column["type"] for column in columns)


def test_what_a_column_means_is_in_no_data_file(table: Table):
    manifest = table.publish(table.unit(1))
    (file,) = (table.folder / file.path for file in manifest.files)
    assert manifest.columns[0]["meaning"].encode() not in file.read_bytes()


def same_job_until(table: Table, unit: SourceUnit, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run of the same job publishes just before this one's first put of a kind of object."""
    really, pending = Storage.put_if_absent, [lambda: table.publish(unit)]

    def put(self: Storage, uri: str, data: bytes) -> bool:
        if step in uri and pending:
            pending.pop()()
        return really(self, uri, data)

    monkeypatch.setattr(Storage, "put_if_absent", put)


@pytest.mark.parametrize("step", [".claim", "/data/", "/00000000000000000001.json"])
def test_the_same_job_twice_at_once_leaves_one_snapshot(table: Table, step: str, monkeypatch: pytest.MonkeyPatch):
    unit = table.unit(1)
    same_job_until(table, unit, step, monkeypatch)
    publication = table.publication(unit)
    manifest = publish(table.snapshots, table.fragments, publication, {"run_id": "the later one"})
    assert table.snapshots.published() == [1]
    assert manifest.run == RUN


def test_many_at_once_leave_one_snapshot(table: Table):
    publication = table.publication(*(table.unit(number) for number in range(1, 4)))
    runs = [{"run_id": str(number)} for number in range(8)]
    with ThreadPoolExecutor(len(runs)) as pool:
        published = [pool.submit(publish, table.snapshots, table.fragments, publication, run) for run in runs]
    manifests = [future.result() for future in published]
    assert table.snapshots.published() == [1]
    assert all(manifest == manifests[0] for manifest in manifests)
