"""Rollback on tables made by hand: what readers see, what is held back afterwards, and every place where it may die."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, HeldBackError
from pipeline.tables.rollback import ROLLBACK, check_not_held_back, roll_back
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tasks.classification import Classification
from tests.dying_storage import DyingError, dying
from tests.tables.test_publish import Table, file_list_paths, tree

WHO: dict[str, Any] = {"run_id": "rolled", "published_at": "2026-01-02T03:04:05+00:00"}
OTHER = Classification("single_label", ("cat", "dog"), temperature=2.0)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Three snapshots: a corpus, the corpus with one more file, and that under other keys."""
    table = Table(tmp_path / "table")
    table.publish(table.unit(1), table.unit(2, "b", failed=True))
    table.publish(table.unit(1), table.unit(2, "b", failed=True), table.unit(3))
    table.publish(table.unit(1), table.unit(2, "b", failed=True), table.unit(3), task=OTHER)
    return table


def rolled(table: Table, number: int) -> Manifest:
    return roll_back(table.snapshots, number, WHO)


def test_readers_of_the_newest_see_the_older_rows_and_nothing_is_deleted(table: Table):
    before = tree(table.folder)
    manifest = rolled(table, 1)
    assert (manifest.snapshot, manifest.parent) == (4, 3)
    assert table.snapshots.latest() == manifest
    assert b'"snapshot": 4' in (table.folder / "_latest.json").read_bytes()
    for kind in ("data", "errors"):
        assert rows(table, 4, kind) == rows(table, 1, kind)
    after = tree(table.folder)
    assert {path: data for path, data in before.items() if after.get(path) != data}.keys() == {"_latest.json"}
    first, third = table.snapshots.read(1), table.snapshots.read(3)
    assert (manifest.counts, manifest.content, manifest.labels) == (first.counts, first.content, first.labels)
    assert [file.sha256 for file in manifest.files] == [file.sha256 for file in first.files]
    there = {file.sha256 for file in third.files}
    assert {file.state for file in manifest.files if file.sha256 in there} == {"kept"}
    assert {file.state for file in manifest.files if file.sha256 not in there} == {"added"}
    assert {*manifest.removed} == {file.path for file in third.files if file.sha256 not in after_digests(manifest)}
    assert manifest.run == WHO | {
        ROLLBACK: {
            "to": 1,
            "undone": [
                {"snapshot": n, "content": table.snapshots.read(n).content, "keys": ["key", key]}
                for n, key in ((2, first.decision_key), (3, third.decision_key))
            ],
        }
    }


def rows(table: Table, snapshot: int, kind: str = "data") -> list[dict[str, object]]:
    return [row | {"snapshot": None} for row in table.rows(snapshot, kind)]


def after_digests(manifest: Manifest) -> set[str]:
    return {file.sha256 for file in manifest.files}


def test_the_newest_and_what_equals_it_are_left_as_they_are(table: Table):
    before = tree(table.folder)
    assert rolled(table, 3) == table.snapshots.read(3)
    assert tree(table.folder) == before
    fourth = rolled(table, 2)
    assert rolled(table, 2) == rolled(table, 4) == fourth


@pytest.mark.parametrize(
    ("number", "problem"),
    [(9, "has no snapshot 9; it has 1, 2, 3, 4"), (4, "snapshot 4 is partial")],
)
def test_what_can_not_be_published_again(table: Table, number: int, problem: str):
    table.publish(table.unit(1), partial=True)
    with pytest.raises(ConfigError, match=problem):
        rolled(table, number)


def test_a_file_that_is_gone_is_named(table: Table):
    path = table.snapshots.read(1).files[-1].path
    (table.folder / path).unlink()
    with pytest.raises(ConfigError, match=f"{path}: is gone, so snapshot 1 can't be published again"):
        rolled(table, 1)
    latest = table.snapshots.latest()
    assert latest is not None
    assert latest.snapshot == 3


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_change_and_run_again_it_ends_the_same(table: Table, after: bool, tmp_path: Path):
    manifest = rolled(table, 1)
    whole = tree(table.folder)
    for step in range(1, 30):
        again = Table(tmp_path / f"killed-{step}")
        again.publish(again.unit(1), again.unit(2, "b", failed=True))
        again.publish(again.unit(1), again.unit(2, "b", failed=True), again.unit(3))
        third = again.publish(again.unit(1), again.unit(2, "b", failed=True), again.unit(3), task=OTHER)
        try:
            roll_back(Snapshots(dying(step, after=after), str(again.folder)), 1, WHO)
        except DyingError:
            latest = again.snapshots.latest()
            assert latest in (third, manifest)  # never something between
            assert rolled(again, 1).snapshot == 4
            again.snapshots.point_to_latest()  # as the next `label` does
            assert tree(again.folder) == whole
        else:
            break
    # the claim, the units, the copies, the lists of files, the manifest, the hint; then it lives
    assert step == len(manifest.files) + len(file_list_paths(4)) + 5


def test_what_was_undone_is_held_back_and_other_work_goes_on(table: Table):
    units = [table.unit(1), table.unit(2, "b", failed=True), table.unit(3)]
    undone_content = table.publication(*units)
    undone_keys = table.publication(*units, table.unit(4), task=OTHER)
    new_corpus = table.publication(*units, table.unit(4))
    check_not_held_back(table.snapshots.latest(), undone_keys)  # no rollback yet
    latest = rolled(table, 1)
    for publication in (undone_content, undone_keys):
        with pytest.raises(HeldBackError, match=r"snapshot 4 is snapshot 1 again.*set table.undo_rollback: true"):
            check_not_held_back(latest, publication)
    check_not_held_back(latest, new_corpus)
    check_not_held_back(latest, table.publication(*units[:2]))
    check_not_held_back(latest, table.publication(*units, task=OTHER, partial=True))
    check_not_held_back(None, new_corpus)


def test_a_rollback_can_be_rolled_back(table: Table):
    rolled(table, 1)
    fifth = rolled(table, 3)
    assert fifth.run[ROLLBACK]["to"] == 3
    assert [undone["snapshot"] for undone in fifth.run[ROLLBACK]["undone"]] == [4]
    assert rows(table, 5) == rows(table, 3)
