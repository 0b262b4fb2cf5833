import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
import zstandard

from jobs.measure.memory import documents, watched, write_row_group, write_stream

CHILD = "import subprocess, sys; data = bytearray(200_000_000); subprocess.run([sys.executable, '-c', sys.argv[1]])"
GRANDCHILD = "import time; data = bytearray(300_000_000); time.sleep(2)"


def test_the_memory_of_a_process_and_of_those_that_it_starts():
    peaks = watched([sys.executable, "-c", CHILD, GRANDCHILD])
    (other,) = (peak for kind, peak in peaks.items() if kind.startswith("python"))
    assert 200_000_000 < peaks["driver"] < 300_000_000 < other < 400_000_000


def test_a_run_that_fails_is_told():
    with pytest.raises(typer.Exit):
        watched([sys.executable, "-c", "raise SystemExit(3)"])


def test_what_is_labelled(tmp_path: Path):
    write_row_group(tmp_path / "corpus" / "a.parquet", 1_000_000)
    metadata = pq.read_metadata(tmp_path / "corpus" / "a.parquet")
    assert (metadata.num_row_groups, metadata.num_rows) == (1, 20)
    write_stream(tmp_path / "corpus" / "a.jsonl.zst", 1_000_000)
    with zstandard.open(tmp_path / "corpus" / "a.jsonl.zst", "rt") as file:
        assert sum(1 for _ in file) == 20
    assert len(set(documents(1_000_000))) == 20
