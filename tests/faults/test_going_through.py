"""`rookery rollback`, `publish` and `compare`: kill -9 at each kind of object, and a store in bad weather.

Before and after every change they end in tests/tables (test_rollback, test_candidates), without a process.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.label import StorageSettings
from pipeline.errors import StorageError
from pipeline.storage.objects import Storage
from pipeline.tables.candidates import CandidateSnapshots
from pipeline.tables.comparison import compare_snapshots
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Manifest, Snapshots
from tests.faults.proxy import FAULTS, Proxy, Weather
from tests.faults.world import HOOKS, ROOT
from tests.s3 import S3Server
from tests.tables.test_candidates import held
from tests.tables.test_publish import Table, tree
from tests.tables.test_rollback import OTHER, WHO

KILLED = -9
ROLLBACK_STEPS = {  # in order: the call, the object, and whether it dies before or after
    "claim": ("put_if_absent", r"/_snapshots/\d+\.claim$", "after"),
    "list of units": ("put_if_absent", r"/_snapshots/\d+\.units$", "before"),
    "data file": ("copy", "/data/", "after"),
    "list of files": ("put", rf"/_snapshots/{4:020d}\.added\.txt$", "before"),
    "manifest put": ("put_if_absent", rf"/_snapshots/{4:020d}\.json$", "before"),
    "manifest": ("put_if_absent", rf"/_snapshots/{4:020d}\.json$", "after"),
    "hint": ("put", r"/_latest\.json$", "after"),
}
PUBLISH_STEPS = {
    "list of files": ("put", rf"/_snapshots/{3:020d}\.added\.txt$", "after"),
    "manifest put": ("put_if_absent", rf"/_snapshots/{3:020d}\.json$", "before"),
    "manifest": ("put_if_absent", rf"/_snapshots/{3:020d}\.json$", "after"),
    "candidate": ("delete", "/_candidates/", "before"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two snapshots, and a candidate under other keys."""
    table = Table(tmp_path_factory.mktemp("made") / "table")
    units = [table.unit(1), table.unit(2, "b", failed=True)]
    table.publish(*units)
    table.publish(*units, table.unit(3))
    held(table, *units, table.unit(3), task=OTHER)
    return table.folder


def killed(folder: Path, step: tuple[str, str, str], *command: str) -> None:
    call, object_, when = step
    fault = {"call": call, "object": object_, "do": "kill", "when": when, "marker": str(folder.parent / "marker")}
    environment = {"FAULTS": json.dumps([fault]), "PYTHONPATH": f"{HOOKS}{os.pathsep}{ROOT}"}
    ended = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == KILLED, ended.stderr


def without_runs(folder: Path) -> dict[str, Any]:
    """All objects; of the manifests all but who published them, and when."""
    objects: dict[str, Any] = dict(tree(folder))
    for path in objects:
        if path.startswith("_snapshots/") and path.endswith(".json"):
            objects[path] = json.loads(objects[path]) | {"run": None}
    return objects


def newest(folder: Path) -> Manifest:
    manifest = Snapshots(Storage(), str(folder)).latest()
    assert manifest is not None
    return manifest


@pytest.mark.parametrize("step", ROLLBACK_STEPS)
def test_a_rollback_that_is_killed_is_finished_by_the_next_one(made: Path, tmp_path: Path, step: str):
    undisturbed, folder = (Path(shutil.copytree(made, tmp_path / name)) for name in ("a", "b"))
    roll_back(Snapshots(Storage(), str(undisturbed)), 1, WHO)
    killed(folder, ROLLBACK_STEPS[step], "rollback", str(folder), "1")
    snapshots = Snapshots(Storage(), str(folder))
    assert snapshots.damage(newest(folder)) is None
    assert roll_back(snapshots, 1, WHO).snapshot == 4
    snapshots.point_to_latest()  # as the next `label` does
    assert without_runs(folder) == without_runs(undisturbed)


@pytest.mark.parametrize("step", PUBLISH_STEPS)
def test_letting_a_candidate_through_is_finished_by_the_next_one(made: Path, tmp_path: Path, step: str):
    undisturbed, folder = (Path(shutil.copytree(made, tmp_path / name)) for name in ("a", "b"))
    let_through(Snapshots(Storage(), str(undisturbed)))
    killed(folder, PUBLISH_STEPS[step], "publish", str(folder), "3")
    assert newest(folder).snapshot in (2, 3)
    snapshots = Snapshots(Storage(), str(folder))
    assert snapshots.damage(newest(folder)) is None
    let_through(snapshots)
    assert without_runs(folder) == without_runs(undisturbed)


def let_through(snapshots: Snapshots) -> None:
    candidates = CandidateSnapshots(snapshots)
    if not candidates.finish(3):
        candidates.publish(candidates.read(3), WHO)


def compared(snapshots: Snapshots) -> dict[str, Any]:
    first, second = (snapshots.read(number) for number in (1, 2))
    figures = asdict(compare_snapshots((snapshots, first), (snapshots, second)))
    for side in ("before", "after"):
        del figures[side]["table_uri"]
    return figures


WORK: dict[str, Callable[[Snapshots], object]] = {
    "rollback": lambda snapshots: roll_back(snapshots, 1, WHO),
    "publish": let_through,
    "compare": compared,
}


@pytest.mark.s3
@pytest.mark.parametrize("command", WORK)
def test_bad_weather_changes_nothing(made: Path, s3: S3Server, tmp_path: Path, command: str):
    """What a store fails to do for too long is an error; then the same command again ends the same."""
    bucket = s3.new_bucket()
    s3.filesystem().put(f"{made}/", f"{bucket}/table", recursive=True)
    undisturbed = Path(shutil.copytree(made, tmp_path / "undisturbed"))
    expected = WORK[command](Snapshots(Storage(), str(undisturbed)))
    with Proxy(s3.endpoint, seed=3, weather=Weather(FAULTS[:-1], 0.15)) as proxy:
        storage = Storage(StorageSettings(endpoint_url=proxy.endpoint, retry=2.0))
        for _ in range(20):
            try:
                outcome: object = WORK[command](Snapshots(storage, f"s3://{bucket}/table"))
                break
            except StorageError:
                proxy.weather = Weather(FAULTS[:-1], proxy.weather.probability / 2)
        assert proxy.injected.total() > 1
    assert outcome == expected
    s3.filesystem().get(f"{bucket}/table/", str(tmp_path / "after"), recursive=True)
    assert without_runs(tmp_path / "after") == without_runs(undisturbed)
