"""Publishing on Ray tasks: the bytes of publishing in one process, and the errors too."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cluster.ray_tasks import map_on_ray
from pipeline.errors import ErrorBudgetError, RetryableError, RookeryError, StorageError
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import Publication, publish
from pipeline.tables.source_units import SourceUnit
from tests.tables.test_publish import LAYOUT, RUN, Table, tree

pytestmark = pytest.mark.ray
MANY = replace(LAYOUT, buckets=None)


def units(table: Table, count: int = 70) -> list[SourceUnit]:
    """More than one group holds, some of them with errors."""
    return [table.unit(number, failed=number % 7 == 0) for number in range(1, count + 1)]


def publication(table: Table, members: list[SourceUnit]) -> Publication:
    return replace(table.publication(*members), layout=MANY)


def test_the_same_bytes_as_in_one_process(ray: None, tmp_path: Path):
    spread, alone = Table(tmp_path / "spread"), Table(tmp_path / "alone")
    for table, mapped in ((spread, map_on_ray), (alone, map)):
        members = units(table)
        for planned in (members[:-1], members):  # the second snapshot copies from the first
            found = publication(table, planned)
            manifest = publish(table.snapshots, table.fragments, found, RUN, mapped)
        assert {file.state for file in manifest.files} == {"added", "kept"}
    assert tree(spread.folder) == tree(alone.folder)


def test_an_error_of_a_task_is_raised_as_it_was(ray: None, tmp_path: Path):
    table = Table(tmp_path / "table")
    members = units(table)
    members[5] = replace(members[5], documents=3)
    with pytest.raises(RookeryError, match="planned 3 documents") as stopped:
        publish(table.snapshots, table.fragments, publication(table, members), RUN, mapped=map_on_ray)
    assert stopped.value.exit_code == 1
    assert table.snapshots.published() == []


def test_a_store_that_fails_in_a_task(ray: None, tmp_path: Path):
    table = Table(tmp_path / "table")
    members = units(table, 3)
    (table.folder / "data").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="the store failed") as stopped:
        publish(table.snapshots, table.fragments, publication(table, members), RUN, mapped=map_on_ray)
    assert stopped.value.exit_code == 75


def test_failures_are_counted_on_tasks_too(ray: None, tmp_path: Path):
    table = Table(tmp_path / "table")
    few = replace(publication(table, units(table)), rules=PublicationRules(ErrorBudget(9), "refuse"))
    with pytest.raises(ErrorBudgetError, match=r"10 of 140 documents [^\n]*\n  null_text \(read\) 10"):
        publish(table.snapshots, table.fragments, few, RUN, mapped=map_on_ray)
    assert not (table.folder / "_snapshots").exists()


def test_results_come_in_the_order_of_the_items(ray: None):
    # nested functions go to workers by value: these tests need not be importable there
    assert list(map_on_ray(lambda number: number * number, range(50))) == [n * n for n in range(50)]


def test_few_items_are_taken_in_advance(ray: None):
    items = iter(range(1000))
    assert next(map_on_ray(lambda number: number, items)) == 0
    assert next(items) < 1000 - 1


def test_a_worker_that_dies_is_tried_again(ray: None, tmp_path: Path):
    def dies_once(number: int) -> int:
        seen = tmp_path / str(number)
        if not seen.exists():
            seen.touch()
            os._exit(1)
        return number

    assert list(map_on_ray(dies_once, range(2))) == [0, 1]


def test_a_worker_that_always_dies(ray: None):
    with pytest.raises(RetryableError, match="Ray gave up"):
        list(map_on_ray(lambda _: os._exit(1), [0]))
