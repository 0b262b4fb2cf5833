"""Ctrl-C and SIGTERM on a real run: what is said, what is left, and that the next run goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.processes import family

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = 30
pytestmark = pytest.mark.ray


def write_corpus(folder: Path) -> None:
    """Of 15 units: some are left when the first is done, and all of them take seconds."""
    rows = pq.read_table(CORPUS / "test.parquet").slice(0, DOCUMENTS).to_pylist()
    pq.write_table(pa.Table.from_pylist([row | {"text": row["text"][:4000]} for row in rows]), folder / "a.parquet")


def label(folder: Path, table: str, **environment: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "label",
        "--config",
        "jobs/sample/job.yaml",
        "--set",
        f"corpus.uris={folder}/a.parquet",
        "--set",
        f"checkpoint.uri={CHECKPOINT}",
        "--set",
        f"table.uri={folder}/{table}",
        "--set",
        "units.text_bytes=8000",
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def fragments(table: Path) -> set[Path]:
    return set(table.glob("_units/*/*/*.parquet"))


def running(processes: list[int]) -> list[int]:
    def state(process: int) -> str:
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "ended"

    return [process for process in processes if state(process) not in ("ended", "Z", "X")]


def interrupted(tmp_path: Path, signals: list[int]) -> tuple[int, str, set[Path]]:
    """Sends the signals to a run amid its units; exit code, output and what was finished before."""
    table = tmp_path / "table"
    write_corpus(tmp_path)
    run = label(tmp_path, "table")
    while not fragments(table):
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.01)
    started = family(run.pid)
    assert len(started) > 4  # Ray's daemons and workers
    for number in signals:
        run.send_signal(number)
        time.sleep(0.1)
    output, _ = run.communicate(timeout=45)
    deadline = time.monotonic() + 10
    while running(started) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(started)
    return run.returncode, output, fragments(table)


def test_sigterm_ends_in_order_and_the_next_run_goes_on(ray_address: str, tmp_path: Path) -> None:
    code, output, done = interrupted(tmp_path, [signal.SIGTERM])
    assert code == 128 + signal.SIGTERM
    assert "stopping: units that are not finished are given up" in output
    assert output.rstrip().endswith("stopped; finished units are kept: run again to go on")
    assert "Traceback" not in output

    assert not list((tmp_path / "table").glob("_units/**/*.predict.begun"))  # nothing is suspect
    before = {path: path.stat().st_ino for path in done}
    again = label(tmp_path, "table", RAY_ADDRESS=ray_address)
    told, _ = again.communicate(timeout=240)
    assert again.returncode == 0, told
    assert {path: path.stat().st_ino for path in done} == before
    glob = f"{tmp_path}/table/data/snapshot=00000000000000000001/**/*.parquet"
    assert duckdb.sql(f"select count(*), count(distinct id) from '{glob}'").fetchall() == [(DOCUMENTS, DOCUMENTS)]


def test_ctrl_c_twice_ends_at_once(tmp_path: Path) -> None:
    code, output, _ = interrupted(tmp_path, [signal.SIGINT, signal.SIGINT])
    assert code == 128 + signal.SIGINT, output
    assert "once more to stop at once" in output
