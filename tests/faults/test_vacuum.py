"""kill -9 of the real command at each kind of object that a vacuum writes or deletes, and a store in bad weather."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config.label import StorageSettings
from pipeline.storage.objects import Storage
from pipeline.tables.reachability import Retention
from pipeline.tables.snapshots import Snapshots
from pipeline.tables.vacuum import vacuum
from tests.faults.proxy import Proxy, Weather
from tests.faults.world import HOOKS, ROOT
from tests.s3 import S3Server
from tests.tables.test_vacuum import OLD_KEY, STAYING, KeyTable, check_whole, content, months

KILLED = -9
STEPS = {  # what a vacuum does: the call, the object, and whether it dies before or after
    "clock": ("put", "/_vacuum/clock$", "after"),
    "list": ("put", r"/_vacuum/unreachable\.parquet$", "before"),
    "record": ("put", "/_vacuum/records/", "after"),
    "note": ("put_if_absent", r"/_snapshots/.*\.vacuumed$", "before"),
    "note put": ("put_if_absent", r"/_snapshots/.*\.vacuumed$", "after"),
    "index": ("delete", "/_index/", "after"),
    "fragment": ("delete", rf"/_units/{OLD_KEY}/.*\.parquet$", "before"),
    "data file": ("delete", "/data/snapshot=", "after"),
    "claim": ("delete", r"\.claim$", "before"),
}


@pytest.fixture(scope="module")
def due(tmp_path_factory: pytest.TempPathFactory) -> KeyTable:
    """A table in which all that is listed may go."""
    table = months(tmp_path_factory.mktemp("due") / "table")
    table.vacuum()
    table.later(8)
    return table


@pytest.mark.parametrize("step", STEPS)
def test_a_vacuum_that_is_killed_is_finished_by_the_next_one(due: KeyTable, step: str, tmp_path: Path):
    undisturbed, table = (KeyTable(Path(shutil.copytree(due.folder, tmp_path / name))) for name in ("a", "b"))
    undisturbed.vacuum()
    call, object_, when = STEPS[step]
    fault = {"call": call, "object": object_, "when": when, "do": "kill", "marker": str(tmp_path / "marker")}
    environment = {"FAULTS": json.dumps([fault]), "PYTHONPATH": f"{HOOKS}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "jobs.cli", "vacuum", str(table.folder), "--delete", "--keep-snapshots", "2"]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    assert ended.returncode == KILLED, ended.stderr
    check_whole(table)
    table.vacuum()
    check_whole(table)
    assert content(table) == content(undisturbed)


@pytest.mark.s3
def test_a_store_in_bad_weather_changes_nothing(s3: S3Server, tmp_path: Path):
    """Versions, times and names are not those of a disk, either; no days go by, so none are waited for."""
    local = months(tmp_path / "table")
    for path in STAYING.split():
        local.put(path)
    shutil.rmtree(local.folder / f"_units/{OLD_KEY}/runs")  # a beat that is put there now would be of a run at work
    bucket = s3.new_bucket()
    s3.filesystem().put(f"{local.folder}/", f"{bucket}/tables/topics", recursive=True)
    at_once = Retention(snapshots=2, days=0, grace_days=0)
    time.sleep(1.1)  # the store's clock, asked for one object, tells whole seconds
    faults = ("lost reply", "reset", "unavailable", "broken", "refused")
    with Proxy(s3.endpoint, weather=Weather(faults, 0.1)) as proxy:
        storage = Storage(StorageSettings(endpoint_url=proxy.endpoint))
        snapshots = Snapshots(storage, f"s3://{bucket}/tables/topics")
        found, deleted = vacuum(snapshots, at_once, lambda _: None)
        assert proxy.injected.total() > 10
        proxy.weather = Weather()
        left = {file.uri.removeprefix(f"{snapshots.table_uri}/"): file for file in storage.find(snapshots.table_uri)}
    here, deleted_here = vacuum(local.snapshots, at_once, lambda _: None)
    assert found.marked["path"].to_pylist() == here.marked["path"].to_pylist()
    assert found.findings.unknown == here.findings.unknown
    assert deleted.snapshots == deleted_here.snapshots == [1, 2, 3]
    assert {path for path in left if not path.startswith("_vacuum/records/")} == content(local).keys()
