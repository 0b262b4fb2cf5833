"""Ids that several documents have: found whatever their number, confirmed, told with their places, refused or kept."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.errors import CorpusError, StorageError
from pipeline.tables import duplicates as module, group_tallies
from pipeline.tables.duplicates import DocumentPlace, RepeatedDigestFinder, find_duplicates
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.group_tallies import Digests, GroupTallies, id_digests
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import Publication, check_current, is_current, publish
from pipeline.tables.source_units import SourceUnit
from tests.tables.test_publish import RUN, Table


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "table")


# few values, so that they repeat, from all over the range
DIGEST = st.sampled_from([n * (2**64 // 97) for n in range(97)]) | st.integers(0, 2**64 - 1)


@given(st.lists(st.lists(DIGEST, max_size=30), max_size=8), st.sampled_from([1, 7, 10**6]))
def test_what_was_added_more_than_once(groups: list[list[int]], held: int):
    """In memory, and spilled to disk after every group or after some."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(module, "DIGESTS_IN_MEMORY", held)
        patch.setattr(module, "DIGESTS_CONFIRMED", 3)
        repeats = RepeatedDigestFinder(Path(folder))
        for group in groups:
            repeats.add(np.array(sorted(group), np.uint64))
        found = repeats.repeated()
        assert any(Path(folder).iterdir()) == (sum(map(len, groups)) >= held and any(groups))
    counts = Counter(digest for group in groups for digest in group)
    expected = {digest: count for digest, count in counts.items() if count > 1}
    assert (found.digests, found.documents) == (len(expected), sum(expected.values()))
    first = sorted(expected)[:3]
    assert found.first.tolist() == first
    assert found.counts.tolist() == [expected[digest] for digest in first]


def found_in(table: Table, *units: SourceUnit) -> module.Duplicates:
    kept, groups = GroupTallies(table.fragments), table.publication(*units).groups
    return find_duplicates(kept, groups, (tally.digests for tally in kept.of(groups)))


def test_ids_within_a_file_between_files_and_of_errors(table: Table):
    one = table.documents(1, ["a", "b", "a", "c"])
    two = replace(table.documents(2, ["d", "c", "e"]), partitions=(("part", "z"),))
    found = found_in(table, one, two, table.documents(3, ["e", "a"], failed=True))
    assert (found.ids, found.documents) == (3, 7)
    assert found.examples == [
        ("a", DocumentPlace("s3://b/1.jsonl", 0), DocumentPlace("s3://b/1.jsonl", 2)),
        ("c", DocumentPlace("s3://b/1.jsonl", 3), DocumentPlace("s3://b/2.jsonl", 1)),
        ("e", DocumentPlace("s3://b/3.jsonl", 0), DocumentPlace("s3://b/2.jsonl", 2)),
    ]


def test_ids_that_differ_are_not_the_same(table: Table):
    ids = ["a", "A", "a ", "", "ä", "a\u0308", "1", "1.0", "01"]
    assert found_in(table, table.documents(1, ids)) == module.Duplicates()


def low_bits(ids: list[str]) -> Digests:
    """Collides often."""
    return np.asarray(id_digests(ids) % np.uint64(4))


def test_two_ids_of_one_digest_are_no_duplicates(table: Table, monkeypatch: pytest.MonkeyPatch):
    for at in (module, group_tallies):
        monkeypatch.setattr(at, "id_digests", low_bits)
    ids = [f"id {number}" for number in range(9)]
    found = found_in(table, table.documents(1, ids[:5]), table.documents(2, ids[5:]))
    assert (found.ids, found.documents, found.examples) == (0, 0, [])


def publication(table: Table, rule: str, *units: SourceUnit) -> Publication:
    return replace(table.publication(*units), rules=PublicationRules(ErrorBudget(1.0), rule))  # type: ignore[arg-type]


def test_duplicate_ids_are_refused_before_anything_is_claimed(table: Table):
    one = table.documents(1, [f"{number:02d}" for number in range(12)])
    two = table.documents(2, [f"{number:02d}" for number in range(13)])
    with pytest.raises(CorpusError) as refused:
        publish(table.snapshots, table.fragments, publication(table, "refuse", one, two), RUN)
    told = str(refused.value).splitlines()
    assert told[0] == (
        "corpus.duplicate_ids: 12 ids are on more than one document, on 24 in all. Nothing was published; "
        "finished units are kept."
    )
    assert told[1:11] == [f"  '{n:02d}' in s3://b/1.jsonl at {n} and in s3://b/2.jsonl at {n}" for n in range(10)]
    assert told[11:] == [
        "  and 2 more",
        "Give each document an id of its own (corpus.id_column), or set corpus.duplicate_ids: keep",
    ]
    assert refused.value.exit_code == 3
    assert not (table.folder / "_snapshots").exists()


def test_duplicate_ids_that_are_kept_are_counted_and_judged_again(table: Table):
    units = [table.documents(1, ["a", "b"]), table.documents(2, ["a", "c"])]
    keep, refuse = (publication(table, rule, *units) for rule in ("keep", "refuse"))
    manifest = publish(table.snapshots, table.fragments, keep, RUN)
    assert manifest.counts["duplicate_ids"] == 1
    ((repeated,),) = duckdb.sql(
        f"select count(*) from (select id from '{table.folder}/data/**/*.parquet' group by id having count(*) > 1)"
    ).fetchall()
    assert manifest.counts["duplicate_ids"] == repeated
    assert is_current(table.snapshots, refuse) == manifest
    check_current(table.snapshots, table.fragments, keep, manifest)
    with pytest.raises(CorpusError, match="1 id is on more than one document, on 2 in all") as refused:
        check_current(table.snapshots, table.fragments, refuse, manifest)
    assert "Snapshot 1, which other settings published, stays as it is" in str(refused.value)
    assert "'a' in s3://b/1.jsonl at 0 and in s3://b/2.jsonl at 0" in str(refused.value)


def test_a_disk_without_room_is_no_fault_of_ours(table: Table, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    with pytest.raises(StorageError, match=r"ids can't be compared there .* set TMPDIR"):
        found_in(table, table.documents(1, ["a"]))
