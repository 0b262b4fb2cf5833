"""`rookery sql`, as people run it."""

import subprocess
import sys

import duckdb
import pytest

from tests.conftest import ROOT
from tests.warehouses.engines import COLUMNS, quoted
from tests.warehouses.tables import NAME, Published, expected_rows, first_night, published, second_night


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Published:
    table = published(tmp_path_factory.mktemp("table"))
    table.night(first_night())
    table.night(second_night())
    return table


def sql(table: Published, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.cli", "sql", str(table.folder), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_is_printed_is_the_script_and_nothing_else(table: Published):
    ended = sql(table, "--engine", "duckdb")
    assert (ended.returncode, ended.stderr) == (0, "")
    with duckdb.connect() as database:
        database.execute(ended.stdout)
        rows = database.execute(f"SELECT {COLUMNS} FROM {quoted(NAME)} ORDER BY id").fetchall()
    assert rows == expected_rows(table, 2, COLUMNS)


def test_what_can_not_be_is_one_message_and_nothing_on_stdout(table: Published):
    ended = sql(table, "--engine", "postgres", "--since", "9")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.strip().endswith("has no snapshot 9; it has 1, 2")
    ended = sql(table, "--engine", "dbt", "--since", "1")
    assert (ended.returncode, ended.stdout) == (2, "")


def test_a_reader_that_ends_early_is_no_traceback(table: Published):
    shell = f"{sys.executable} -m jobs.cli sql '{str(table.folder).replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'"
    command = f"set -o pipefail; {shell} --engine postgres | true"
    ended = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 75)  # 0 where the pipe took all before its reader ended
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
