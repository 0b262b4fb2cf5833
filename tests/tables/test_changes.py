"""What changed from one snapshot to the next, against a model that knows every document."""

import hashlib
import tempfile
from collections import Counter
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.errors import StorageError
from pipeline.schema import DOCUMENT_LOGITS, DOCUMENT_RECORD
from pipeline.tables import changes
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.fragments import fragment
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import Publication, publish
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Changes, Manifest, SnapshotFile
from pipeline.tables.source_units import SourceUnit
from tests.tables.test_publish import CHECKPOINT, DECISION, LAYOUT, RUN, Table

Document = tuple[str, str | None]  # id and text; None for an error
Files = list[list[Document]]
KEEP = PublicationRules(ErrorBudget(1.0), duplicate_ids="keep")
ONE: list[Document] = [("a", "one"), ("b", "two"), ("c", None)]


class Corpus(Table):
    """A table of files with the documents that are asked for, each in a partition of its own."""

    def of(self, *files: list[Document], partial: bool = False, temperature: float = 1.0) -> Manifest:
        units = tuple(self.file(number, documents) for number, documents in enumerate(files) if documents)
        task = replace(DECISION, temperature=temperature)
        publication = Publication(units, LAYOUT, task, "key", partial, KEEP, CHECKPOINT)
        return publish(self.snapshots, self.fragments, publication, RUN)

    def file(self, number: int, documents: list[Document]) -> SourceUnit:
        rows = [record(position, id_, text) for position, (id_, text) in enumerate(documents)]
        unit = hashlib.sha256(repr((number, documents)).encode()).hexdigest()[:32]
        records = pa.Table.from_struct_array(pa.array(rows, DOCUMENT_RECORD))
        logits = pa.array([[2.0, 1.0]] * len(rows), DOCUMENT_LOGITS.type)
        self.fragments.write(unit, fragment(records, logits, DOCUMENT_LOGITS))
        return SourceUnit(unit, f"s3://b/{number}.jsonl", (("part", str(number)), ("day", "1")), len(rows))


def record(position: int, id_: str, text: str | None) -> dict[str, object]:
    if text is None:
        return {"id": id_, "position": position, "stage": "read", "reason": "null_text", "message": "is null"}
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    fine = {"n_tokens": 3, "n_windows": 1, "truncated": False}
    return {"id": id_, "position": position, "content_sha256": sha256} | fine


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path / "table")


def counted(before: list[Document], after: list[Document]) -> Changes:
    """Document by document: what is left of the other side is looked through for the same, then for the same id."""
    left, others = Counter(before), []
    unchanged = changed = added = 0
    for document in after:
        if left[document]:
            left[document] -= 1
            unchanged += 1
        else:
            others.append(document)
    ids = Counter(id_ for id_, _ in left.elements())
    for id_, _ in others:
        is_there = ids[id_] > 0
        ids[id_] -= is_there
        changed += is_there
        added += not is_there
    return Changes(added=added, changed=changed, removed=ids.total(), unchanged=unchanged)


DOCUMENTS = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["one", "two", None])), max_size=4)
FILES = st.lists(DOCUMENTS, min_size=1, max_size=3).map(lambda files: [[("always", "there"), *files[0]], *files[1:]])


@settings(max_examples=40, deadline=None)
@given(before=FILES, after=FILES, in_memory=st.sampled_from([2**23, 5]))
def test_every_document_counts_once(
    tmp_path_factory: pytest.TempPathFactory, before: Files, after: Files, in_memory: int
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "DOCUMENTS_IN_MEMORY", in_memory)
        check_changes(tmp_path_factory.mktemp("table"), before, after)


def check_changes(folder: Path, before: Files, after: Files) -> None:
    corpus = Corpus(folder)
    parent, manifest = corpus.of(*before), corpus.of(*after)
    if manifest.snapshot == 1:  # nothing was published
        return
    found = manifest.changes
    assert found is not None
    assert found == counted([*chain(*before)], [*chain(*after)])
    assert found.unchanged + found.changed + found.added == manifest.counts["documents"]
    assert parent.counts["documents"] - found.removed + found.added == manifest.counts["documents"]
    assert corpus.snapshots.read(2) == manifest


def test_the_first_snapshot_adds_all(corpus: Corpus):
    assert corpus.of(ONE).changes == Changes(added=3, changed=0, removed=0, unchanged=0)


def test_an_error_has_no_text_that_could_have_changed(corpus: Corpus):
    corpus.of(ONE)
    assert corpus.of([("a", "one"), ("b", None), ("c", None)]).changes == Changes(0, 1, 0, 2)
    assert corpus.of([("a", "one"), ("b", None), ("c", "three")]).changes == Changes(0, 1, 0, 2)


def test_a_rollback_tells_what_it_takes_back(corpus: Corpus):
    corpus.of(ONE)
    assert corpus.of([*ONE[:1], ("b", "changed"), ("d", "new")]).changes == Changes(1, 1, 1, 1)
    assert roll_back(corpus.snapshots, 1, RUN).changes == Changes(1, 1, 1, 1)


def test_only_files_with_other_documents_are_read(corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    """Not those that were kept, nor those of which something else was decided."""
    read: list[str] = []
    really = changes.DocumentReader.__call__

    def reading(self: changes.DocumentReader, files: list[SnapshotFile]) -> changes.ContentDigests | None:
        read.extend(file.path for file in files)
        return really(self, files)

    monkeypatch.setattr(changes.DocumentReader, "__call__", reading)
    corpus.of(ONE, [("d", "four")])
    other = corpus.of(ONE, [("d", "four")], temperature=2.0)
    assert {file.state for file in other.files if file.kind == "data"} == {"added"}
    assert other.changes == Changes(0, 0, 0, 4)
    assert corpus.of(ONE, temperature=2.0).changes == Changes(0, 0, 1, 3)
    assert read == []
    assert corpus.of([*ONE, ("d", "four")], temperature=2.0).changes == Changes(1, 0, 0, 3)
    assert {path.split("/")[1][-1] for path in read} == {"3", "4"}


def test_what_is_not_known(corpus: Corpus):
    first = corpus.of(ONE)
    assert corpus.of(ONE[:1], partial=True).changes is None  # it lacks documents that the corpus has
    path = Path(corpus.snapshots.manifest_uri(1))
    path.write_bytes(replace(first, changes=None).dump())
    assert corpus.snapshots.read(1).changes is None
    next((corpus.folder / "data" / f"snapshot={1:020d}").rglob("*.parquet")).unlink()
    assert corpus.of([*ONE, ("d", "four")]).changes is None


def test_a_parent_of_an_older_version_is_compared_by_its_rows(corpus: Corpus):
    first = corpus.of(ONE, [("d", "four")])
    older = [replace(file, documents_digest="", scores={}) for file in first.files]
    Path(corpus.snapshots.manifest_uri(1)).write_bytes(replace(first, files=older, changes=None, scores={}).dump())
    second = corpus.of(ONE, [("d", "five")])
    assert second.changes == Changes(0, 1, 0, 3)
    assert second.scores == {}  # a file that was kept has none
    third = corpus.of(ONE, [("d", "five")], temperature=2.0)
    assert third.changes == Changes(0, 0, 0, 4)
    assert {label: sum(bins) for label, bins in third.scores.items()} == third.labels


def test_a_disk_without_room_is_no_fault_of_ours(corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    first, second = corpus.of(ONE), corpus.of([("e", "five")])
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    with pytest.raises(StorageError, match=r"documents can't be compared there .* set TMPDIR"):
        changes.count_changes(corpus.snapshots, first, second.files)


def test_the_manifest_s_numbers_are_on_one_line(corpus: Corpus):
    manifest = corpus.of([*ONE, ("[\n 1,\n 2\n]", "four")])
    lines = manifest.dump().decode().splitlines()
    assert lines.count('  "cat": [0,0,0,0,0,0,0,3,0,0]') == 1
    assert Manifest.parse(manifest.dump()) == manifest
    assert asdict(manifest)["changes"] == {"added": 4, "changed": 0, "removed": 0, "unchanged": 0}
    assert duckdb.sql(f"select count(*) from '{corpus.folder}/data/**/*.parquet'").fetchall() == [(3,)]
