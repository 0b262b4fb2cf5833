"""`rookery export`: what is said, on which stream, and what a run that is killed leaves."""

import csv
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from jobs.cli import app
from pipeline.errors import ConfigError
from tests.conftest import ROOT
from tests.tables.test_publish import Table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two snapshots: of the second one's eight documents four are new, and one is gone."""
    made = Table(tmp_path_factory.mktemp("export") / "table")
    made.publish(made.unit(1), made.unit(2, "b", failed=True), made.unit(3, None))
    made.publish(made.unit(1), made.unit(5, "b"), made.unit(3, None), made.unit(4))
    return str(made.folder)


def exported(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["export", *arguments])
    if result.exception:
        raise result.exception
    return result


def test_stdout_is_the_export_alone(table: str):
    result = exported(table, "-", "--format", "csv", "--columns", "id, part", "--where", "label = 'dog'")
    assert list(csv.reader(io.StringIO(result.stdout))) == [["id", "part"], ["3-y", ""], ["4-y", "a"], ["5-y", "b"]]
    assert "snapshot 2: 3 rows" in result.stderr
    stream = exported(table, "-", "--format", "arrow", "--columns", "id").stdout_bytes
    assert len(pa.ipc.open_stream(stream).read_all()) == 8


def test_snapshots_and_differences(table: str):
    assert len(exported(table, "-", "--format", "csv", "--snapshot", "1").stdout.splitlines()) == 1 + 5
    result = exported(table, "-", "--format", "csv", "--columns", "id", "--since", "1")
    assert result.stdout.splitlines()[1:] == ['"removed","2-x"', *(f'"added","{n}-{x}"' for n in "45" for x in "xy")]
    assert "snapshot 2, what differs from snapshot 1: 5 rows" in result.stderr
    assert exported(table, "-", "--format", "csv", "--columns", "id", "--since", "2").stdout == '"change","id"\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "--format", "csv", "--since", "7"], "7: is newer than snapshot 2"),
        (["-", "--format", "csv", "--snapshot", "7"], "has no snapshot 7; it has 1, 2"),
        (["-"], "its ending names no format; expected --format csv, jsonl"),
        (["a.csv", "--part-rows", "5"], "a.csv is one file; end TO with a slash"),
        (["a.jsonl", "--bom"], "--bom: is for csv alone, and this is jsonl"),
        (["a.jsonl", "--with-text"], "doesn't say how to read its corpus again"),
        (["/proc/a.csv"], "/proc/a.csv: can't be written"),
    ],
)
def test_what_can_t_be(table: str, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        exported(table, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_byte_order_mark(table: str, tmp_path: Path):
    exported(table, f"{tmp_path}/a.csv", "--bom", "--columns", "id")
    assert (tmp_path / "a.csv").read_bytes().startswith(b'\xef\xbb\xbf"id"\n')


DEATH = """
import os, signal, sys
from pipeline.exporting import exported
from pipeline.exporting.file_formats import form_of
from pipeline.exporting.selection import Selection
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots

def dying(tables, manifest, whole=exported._counted):
    for number, table in enumerate(whole(tables, manifest)):
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield table

exported._counted, exported.TABLE_ROWS = dying, 2
snapshots = Snapshots(Storage(), sys.argv[1])
for uri in sys.argv[2:]:  # each in a process of its own
    if not (process := os.fork()):
        target = exported.Target(uri, form_of(uri, "csv", formulas=False, bom=False), part_rows=2)
        exported.export_snapshot(snapshots, snapshots.get(), Selection(), target)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


def test_a_run_that_is_killed_leaves_nothing_that_looks_like_an_export(table: str, tmp_path: Path):
    command = [sys.executable, "-c", DEATH, table, f"{tmp_path}/a.csv", f"{tmp_path}/parts/"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.stdout.split() == [str(-signal.SIGKILL)] * 2, ended.stderr
    names = {path.name for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".rookery-")}
    assert names == {"part-00000.csv", "part-00001.csv"}  # without _export.json
    exported(table, f"{tmp_path}/a.csv")
    exported(table, f"{tmp_path}/parts/", "--format", "csv", "--part-rows", "2")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 8
    parts = {path.name for path in (tmp_path / "parts").iterdir() if not path.name.startswith(".rookery-")}
    assert parts == {"_export.json", *(f"part-{n:05d}.csv" for n in range(4))}
