"""Candidates on tables made by hand: who sees them, who may publish them, and every place where that may die."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.label import StorageSettings
from pipeline.errors import ConfigError, ConflictError, HeldBackError
from pipeline.schema import DOCUMENT_LOGITS
from pipeline.storage.objects import Storage
from pipeline.tables.candidates import CandidateSnapshots
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.erasure import erase_documents
from pipeline.tables.fragments import Fragments
from pipeline.tables.publish import publish
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tables.source_units import SourceUnit
from pipeline.tasks.classification import Classification
from tests.dying_storage import DyingError, dying
from tests.s3 import S3Server
from tests.tables.test_publish import DECISION, RUN, Table, file_list_paths, tree
from tests.tables.test_rollback import OTHER

WHO: dict[str, Any] = {"published_at": "2026-01-02T03:04:05+00:00", "let_through": {"by": "a test"}}


def held(
    table: Table, *units: SourceUnit, task: Classification = DECISION, snapshots: Snapshots | None = None
) -> Manifest:
    """Publishes through a gate that lets nothing pass."""
    snapshots = snapshots or table.snapshots

    def hold_back(manifest: Manifest) -> Manifest:
        CandidateSnapshots(snapshots).keep(manifest)
        raise HeldBackError

    publication = table.publication(*units, task=task)
    with pytest.raises(HeldBackError):
        publish(snapshots, table.fragments, publication, RUN, judged=hold_back)
    return [one for one in candidates(table).all() if one.content == publication.content][-1]


def candidates(table: Table) -> CandidateSnapshots:
    return CandidateSnapshots(table.snapshots)


def units(table: Table) -> list[SourceUnit]:
    return [table.unit(1), table.unit(2, "b", failed=True)]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """One snapshot, and a candidate under other keys."""
    table = Table(tmp_path / "table")
    table.publish(*units(table))
    held(table, *units(table), table.unit(3), task=OTHER)
    return table


def test_readers_do_not_see_it_and_its_files_are_whole(table: Table):
    (candidate,) = candidates(table).all()
    assert (candidate.snapshot, candidate.parent) == (2, 1)
    assert table.snapshots.published() == [1]
    assert table.snapshots.latest() == table.snapshots.read(1)
    assert [row["id"] for row in table.rows(2)] == ["1-x", "1-y", "2-x", "3-x", "3-y"]
    assert table.snapshots.damage(candidate) is None


def test_a_rollback_does_not_choose_it(table: Table):
    with pytest.raises(ConfigError, match=r"has no snapshot 2; it has 1: "):
        roll_back(table.snapshots, 2, WHO)


def test_letting_it_through_shows_exactly_it(table: Table):
    (candidate,) = candidates(table).all()
    before = tree(table.folder)
    published = candidates(table).publish(candidate, WHO)
    assert published == replace(candidate, run=RUN | WHO) == table.snapshots.latest()
    after = tree(table.folder)
    number = f"{2:020d}.json"
    assert after.keys() - before.keys() == {f"_snapshots/{number}", *file_list_paths(2)}
    assert before.keys() - after.keys() == {f"_candidates/{number}"}
    assert {path for path in before.keys() & after.keys() if before[path] != after[path]} == {"_latest.json"}
    assert candidates(table).finish(2)
    assert tree(table.folder) == after


def test_other_content_takes_another_number_even_without_the_claim(table: Table):
    (table.folder / f"_snapshots/{2:020d}.claim").unlink()
    before = {path: data for path, data in tree(table.folder).items() if "snapshot=" + f"{2:020d}" in path}
    manifest = table.publish(*units(table), table.unit(4))
    assert (manifest.snapshot, manifest.parent) == (3, 1)
    assert before.items() <= tree(table.folder).items()


def test_it_is_not_published_over_another_parent(table: Table):
    table.publish(*units(table), table.unit(4))
    before = tree(table.folder)
    (candidate,) = candidates(table).all()
    with pytest.raises(ConflictError, match="candidate 2 was judged against snapshot 1, and the current one is snap"):
        candidates(table).publish(candidate, WHO)
    assert tree(table.folder) == before
    assert candidates(table).find(candidate.content) is None
    again = held(table, *units(table), table.unit(3), task=OTHER)
    assert (again.snapshot, again.parent) == (4, 3)
    assert candidates(table).publish(again, WHO) == table.snapshots.latest()


def test_it_is_not_published_while_an_erasure_is_not_done(table: Table):
    (candidate,) = candidates(table).all()
    Erasures(Storage(), str(table.folder)).begin(["1-x"])  # and is killed
    with pytest.raises(ConflictError, match="run `rookery erase` to its end first"):
        candidates(table).publish(candidate, WHO)
    erase_documents(table.snapshots, ["1-x"], print)
    (candidate,) = candidates(table).all()
    assert candidates(table).publish(candidate, WHO).counts["erased"] == 1


def test_a_partial_snapshot_is_no_other_parent(table: Table):
    table.publish(table.unit(1), partial=True)
    (candidate,) = candidates(table).all()
    published = candidates(table).publish(candidate, WHO)
    assert table.snapshots.latest() == published
    assert table.publish(*units(table)).snapshot == 4


def test_of_a_table_s_first_snapshot(tmp_path: Path):
    table = Table(tmp_path / "table")
    candidate = held(table, table.unit(1))
    assert (candidate.snapshot, candidate.parent) == (1, None)
    assert candidates(table).find(candidate.content) == candidate
    assert candidates(table).publish(candidate, WHO) == table.snapshots.latest()


def test_what_is_not_there(table: Table):
    with pytest.raises(ConfigError, match="has no candidate 7; it has 2"):
        candidates(table).read(7)
    (candidate,) = candidates(table).all()
    (table.folder / candidate.files[-1].path).unlink()
    assert candidates(table).find(candidate.content) is None
    with pytest.raises(ConfigError, match=f"{candidate.files[-1].path}: expected .* found nothing: candidate 2 can't"):
        candidates(table).publish(candidate, WHO)
    assert held(table, *units(table), table.unit(3), task=OTHER) == candidate
    assert table.snapshots.damage(candidate) is None


def test_without_gates_the_same_run_publishes_it_under_its_number(table: Table):
    manifest = table.publish(*units(table), table.unit(3), task=OTHER)
    assert manifest.snapshot == 2
    assert candidates(table).all() == []


@pytest.mark.s3
def test_on_a_store(s3: S3Server, tmp_path: Path):
    storage, uri = Storage(StorageSettings(endpoint_url=s3.endpoint)), f"s3://{s3.new_bucket()}/table"
    table = Table(tmp_path)
    table.snapshots = Snapshots(storage, uri)
    table.fragments = Fragments(storage, uri, "key", DOCUMENT_LOGITS)
    table.publish(*units(table))
    candidate = held(table, *units(table), table.unit(3), task=OTHER)
    assert candidates(table).find(candidate.content) == candidate
    published = candidates(table).publish(candidate, WHO)
    assert (table.snapshots.latest(), candidates(table).all()) == (published, [])
    assert candidates(table).finish(2)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_it_is_held_back_and_run_again_it_ends_the_same(table: Table, after: bool, tmp_path: Path):
    whole = tree(table.folder)
    for step in range(1, 30):
        again = Table(tmp_path / f"killed-{step}")
        first = again.publish(*units(again))
        snapshots = Snapshots(dying(step, after=after), str(again.folder))
        more = again.unit(3)
        try:
            held(again, *units(again), more, task=OTHER, snapshots=snapshots)
        except DyingError:
            assert again.snapshots.latest() == first
            held(again, *units(again), more, task=OTHER)
            assert tree(again.folder) == whole
        else:
            break
    # the claim, the list of units, the files, the candidate; then it lives
    assert step == len(candidates(table).read(2).files) + 4


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_it_is_let_through_and_run_again_it_ends_the_same(table: Table, after: bool, tmp_path: Path):
    (candidate,) = candidates(table).all()
    published = candidates(table).publish(candidate, WHO)
    whole = tree(table.folder)
    for step in range(1, 10):
        again = Table(tmp_path / f"killed-{step}")
        first = again.publish(*units(again))
        held(again, *units(again), again.unit(3), task=OTHER)
        dying_candidates = CandidateSnapshots(Snapshots(dying(step, after=after), str(again.folder)))
        try:
            dying_candidates.publish(candidate, WHO)
        except DyingError:
            assert again.snapshots.latest() in (first, published)  # never something between
            if not candidates(again).finish(2):
                candidates(again).publish(candidates(again).read(2), WHO)
            assert tree(again.folder) == whole
        else:
            break
    # the lists of files, the manifest, the hint, the candidate's manifest; then it lives
    assert step == len(file_list_paths(2)) + 4
