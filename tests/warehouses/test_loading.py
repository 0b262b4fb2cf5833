"""Scripts run by DuckDB, ClickHouse and PostgreSQL: whole snapshots and differences, each twice, and with faults."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.tables.rollback import roll_back
from pipeline.warehouses.loads import plan_load
from pipeline.warehouses.script import script
from tests.tables.test_publish import RUN
from tests.warehouses.engines import COLUMNS, ENGINES, POSTGRES, EngineError, Warehouse, quoted, warehouse
from tests.warehouses.tables import NAME, Published, expected_rows, first_night, published, second_night


class Nights(NamedTuple):
    """One table after each of four nights: the third rolls the second one back."""

    one: Published
    two: Published
    three: Published
    four: Published


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    def after(table: Published) -> Published:
        return Published(Path(shutil.copytree(table.folder, tmp_path_factory.mktemp("night") / NAME)))

    one = published(tmp_path_factory.mktemp("night"))
    one.night(first_night())
    (two := after(one)).night(second_night())
    roll_back((three := after(two)).snapshots, 1, RUN)
    (four := after(three)).night(second_night() | {"one more": "text"})
    return Nights(one, two, three, four)


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    if request.param == "postgres" and not POSTGRES.is_dir():
        pytest.skip("PostgreSQL is not installed")
    with warehouse(request.param, tmp_path_factory.mktemp("warehouse")) as engine:
        yield engine


@pytest.fixture
def engine(server: Warehouse) -> Iterator[Warehouse]:
    yield server
    for name in (NAME, f"{NAME}_rookery_new", f"{NAME}_rookery_gone"):
        server.run(f"DROP TABLE IF EXISTS {quoted(name)};")


def statements(table: Published, engine: Warehouse, since: int | None = None, *, skipped: int = 0) -> str:
    """The script, without the first files that it should read."""
    load, name = plan_load(table.snapshots, since), engine.name
    assert skipped <= len(load.added)
    return "".join(script(replace(load, added=load.added[skipped:]), name))


def check_holds(engine: Warehouse, table: Published, snapshot: int) -> None:
    assert engine.rows() == expected_rows(table, snapshot, COLUMNS)


def test_whole_snapshots_and_differences_each_twice(engine: Warehouse, nights: Nights):
    for _ in range(2):
        engine.run(statements(nights.one, engine))
        check_holds(engine, nights.one, 1)
    for table, since, snapshot in ((nights.two, 1, 2), (nights.three, 2, 3), (nights.four, 3, 4)):
        for _ in range(2):
            engine.run(statements(table, engine, since))
            check_holds(engine, table, snapshot)
    engine.run(statements(nights.two, engine))
    engine.run(statements(nights.four, engine, 2))  # over the rollback between them
    check_holds(engine, nights.four, 4)
    engine.run(statements(nights.four, engine, 4))  # nothing has changed
    check_holds(engine, nights.four, 4)


def test_a_file_that_was_skipped_is_noticed_and_nothing_changes(engine: Warehouse, nights: Nights):
    engine.run(statements(nights.one, engine))
    for since in (None, 1):
        with pytest.raises(EngineError, match="does not hold snapshot 2 of"):
            engine.run(statements(nights.two, engine, since, skipped=1))
        check_holds(engine, nights.one, 1)


def test_a_row_that_is_missing_or_another_one_s_is_noticed(engine: Warehouse, nights: Nights):
    """As of a load that somebody did by hand; the check of an empty difference is a check of the table."""
    for statement in (
        "DELETE FROM {} WHERE id = 'document 3'",
        "INSERT INTO {} SELECT * FROM {} WHERE id = 'größer 🦉'",
    ):
        engine.run(statements(nights.one, engine))
        engine.run(statement.replace("{}", quoted(NAME)) + ";")
        with pytest.raises(EngineError, match="expected 50 rows with digest"):
            engine.run(statements(nights.one, engine, 1))


def test_a_difference_from_another_snapshot_than_the_table_s_is_not_applied(engine: Warehouse, nights: Nights):
    engine.run(statements(nights.one, engine))
    with pytest.raises(EngineError, match="does not hold snapshot 4 of"):
        engine.run(statements(nights.four, engine, 2))
    check_holds(engine, nights.one, 1)


def test_a_load_that_was_broken_off_changes_nothing_and_can_be_done_again(engine: Warehouse, nights: Nights):
    engine.run(statements(nights.one, engine))
    for since in (None, 1):
        engine.break_off(statements(nights.two, engine, since))
        check_holds(engine, nights.one, 1)
    engine.run(statements(nights.two, engine, 1))
    check_holds(engine, nights.two, 2)


def test_scores_arrive_with_their_labels(engine: Warehouse, nights: Nights):
    """The nested column: as lists of structs, and in PostgreSQL as JSON."""
    engine.run(statements(nights.one, engine))
    of_engine = engine.rows("id, scores")
    expected = expected_rows(nights.one, 1, "id, scores")
    for (id_, scores), (other_id, others) in zip(of_engine, expected, strict=True):
        assert id_ == other_id
        assert [(one["label"], pytest.approx(one["score"], abs=1e-7)) for one in scores] == [
            (one["label"], one["score"]) for one in others
        ]
