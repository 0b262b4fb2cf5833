"""`rookery erase`: kill -9 at each kind of object that it writes, and a store in bad weather.

Before every change it ends in tests/tables/test_erasure.py, without a process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.label import StorageSettings
from pipeline.errors import StorageError
from pipeline.storage.objects import Storage
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.erasure import erase_documents
from pipeline.tables.heartbeats import ALIVE_SECONDS
from pipeline.tables.snapshots import Snapshots
from tests.faults.proxy import FAULTS, Proxy, Weather
from tests.faults.world import HOOKS, ROOT
from tests.s3 import S3Server
from tests.tables.test_erasure import (
    GONE,
    erased,
    every_manifest,
    filled_with_little,
    holding,
    whole,
    without_lists,
)

KILLED = -9
STEPS = {  # in order: the call, the object, and whether it dies before or after
    "list": ("put_if_absent", r"/_erased/\w+\.ids$", "after"),
    "journal": ("put", r"/_erased/\w+\.unfinished$", "before"),
    "fragment": ("put", r"/_units/key/.*\.parquet$", "after"),
    "data file": ("put_if_absent", "/data/", "after"),
    "manifest": ("put", r"/_snapshots/\d+\.json$", "after"),
    "candidate": ("put", r"/_candidates/\d+\.json$", "before"),
    "receipt": ("put", r"/_erased/\w+\.json$", "before"),
}


@pytest.mark.parametrize("object_", STEPS)
def test_an_erasure_that_is_killed_is_finished_by_the_next_one(tmp_path: Path, object_: str):
    table = filled_with_little(tmp_path / "table")
    seen = [whole(table, manifest) for manifest in every_manifest(table)]
    (tmp_path / "ids").write_text("\n".join(GONE))
    call, pattern, when = STEPS[object_]
    fault = {"call": call, "object": pattern, "do": "kill", "when": when, "marker": str(tmp_path / "marker")}
    environment = {"FAULTS": json.dumps([fault]), "PYTHONPATH": f"{HOOKS}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "jobs.cli", "erase", str(table.folder), str(tmp_path / "ids")]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, check=False)
    assert ended.returncode == KILLED, ended.stderr
    left = [[id_ for id_ in ids if id_ not in GONE] for ids in seen]
    for one, *states in zip((whole(table, manifest) for manifest in every_manifest(table)), seen, left, strict=True):
        assert one in states
    for beat in table.folder.glob("_erased/runs/*"):  # or the next one waits until it seems dead
        os.utime(beat, times=(beat.stat().st_mtime - ALIVE_SECONDS,) * 2)
    erased(table)
    assert holding(table.folder, *GONE) == set()
    assert [whole(table, manifest) for manifest in every_manifest(table)] == left
    assert Erasures(Storage(), str(table.folder)).read().finished


@pytest.mark.s3
def test_it_gets_through_bad_weather_or_is_finished_later(s3: S3Server, tmp_path: Path):
    table = filled_with_little(tmp_path / "table")
    uri = f"s3://{s3.new_bucket()}/table"
    s3.filesystem().put(f"{table.folder}/", uri, recursive=True)
    with Proxy(s3.endpoint, seed=4, weather=Weather(FAULTS[:-1], 0.1)) as proxy:
        storage = Storage(StorageSettings(endpoint_url=proxy.endpoint, retry=2.0))
        for _ in range(20):
            try:
                erase_documents(Snapshots(storage, uri), GONE, print)
                break
            except StorageError:
                proxy.weather = Weather(FAULTS[:-1], proxy.weather.probability / 2)
        assert proxy.injected.total() > 5
    s3.filesystem().get(f"{uri}/", str(tmp_path / "after"), recursive=True)
    assert holding(tmp_path / "after", *GONE) == set()
    erased(table)  # on a disk, undisturbed
    assert without_lists(tmp_path / "after") == without_lists(table.folder)
