"""kill -9 of the real command at each step of a commit to a lake table, and a store in bad weather."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyiceberg.catalog.sql import SqlCatalog
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.config.label import StorageSettings
from pipeline.config.lakes import DeltaSettings, IcebergSettings
from pipeline.lakes.delta_lake import DeltaLake
from pipeline.lakes.iceberg_lake import IcebergLake
from pipeline.lakes.lake_commit import Lake, commit_newest
from pipeline.lakes.lake_records import register
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots
from tests.faults.proxy import Proxy, Weather
from tests.faults.world import HOOKS, ROOT
from tests.lakes.readers import DeltaFolder, IcebergFolder
from tests.lakes.test_lake_commit import check_whole, nights, plain
from tests.s3 import REGION, S3Server
from tests.tables.test_publish import Table

KILLED = -9
COPY, LOG = r"/lake/.*\.parquet$", r"/lake/_delta_log/.*\.json$"
STEPS: dict[str, tuple[type[IcebergFolder | DeltaFolder], dict[str, str], str]] = {
    "iceberg: before the catalog": (IcebergFolder, {}, "killed before"),
    "iceberg: after the catalog": (IcebergFolder, {}, "killed after"),
    "delta: after a copy": (DeltaFolder, {"call": "put", "object": COPY, "when": "after"}, ""),
    "delta: before the log": (DeltaFolder, {"call": "put_if_absent", "object": LOG, "when": "before"}, ""),
    "delta: after the log": (DeltaFolder, {"call": "put_if_absent", "object": LOG, "when": "after"}, ""),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_commit_that_is_killed_is_finished_by_the_next_one(step: str, tmp_path: Path):
    kind, hooked, at_catalog = STEPS[step]
    table, folder = Table(tmp_path / "table"), kind(tmp_path / "lake")
    for publish in nights(table)[:2]:
        publish()
    register(table.snapshots, folder.lake())
    commit_newest(folder.lake(), table.snapshots)
    before = plain(folder.rows())
    faults = [hooked | {"do": "kill", "marker": str(tmp_path / "marker")}] if hooked else []
    environment = {"FAULTS": json.dumps(faults), "LAKE_FAULT": at_catalog, "PYTHONPATH": f"{HOOKS}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "jobs.cli", "rollback", str(table.folder), "1"]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    assert ended.returncode == KILLED, ended.stderr
    landed = "after the" in step
    assert (plain(folder.rows()) == before) != landed
    again = CliRunner().invoke(app, command[3:])
    assert again.exit_code == 0, again.exception
    assert ("Committed" in again.output) != landed
    check_whole(folder, table)
    assert len(folder.versions()) == 2


class OnS3:
    """A table and its lakes on the S3 server, whose catalog is on this machine."""

    def __init__(self, s3: S3Server, folder: Path, endpoint: str) -> None:
        self.s3, self.folder, self.bucket = s3, folder, s3.new_bucket()
        self.local = Table(folder / "table")
        self.storage = Storage(StorageSettings(endpoint_url=endpoint, region=REGION))
        self.snapshots = Snapshots(self.storage, f"s3://{self.bucket}/tables/topics")

    def upload(self) -> None:
        self.s3.filesystem().put(f"{self.local.folder}/", f"{self.bucket}/tables/topics", recursive=True)

    @property
    def catalog(self) -> dict[str, str]:
        return {"uri": f"sqlite:///{self.folder}/catalog.db", "warehouse": f"s3://{self.bucket}/warehouse"}

    def lakes(self) -> list[Lake]:
        iceberg = IcebergSettings(table="predictions.topics", catalog="lake", properties=self.catalog)
        delta = DeltaSettings(uri=f"s3://{self.bucket}/lake")
        return [IcebergLake(iceberg, self.storage), DeltaLake(delta, self.storage)]

    def read(self) -> list[Any]:
        """Both, as others read them, past whatever weather there is."""
        properties = self.catalog | {"s3.endpoint": self.s3.endpoint, "s3.region": REGION}
        iceberg = SqlCatalog("lake", **properties).load_table("predictions.topics")
        options = {"AWS_ENDPOINT_URL": self.s3.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION}
        delta = DeltaTable(f"s3://{self.bucket}/lake", storage_options=options)
        ids = [{"id": row["id"], "part": row["part"]} for row in plain(iceberg.scan().to_arrow())]
        assert ids == [{"id": row["id"], "part": row["part"]} for row in plain(delta.to_pyarrow_table())]
        assert len(iceberg.snapshots()) == len([entry for entry in delta.history() if entry["operation"] == "WRITE"])
        return [iceberg, [row["id"] for row in ids]]


@pytest.mark.s3
def test_lakes_on_s3_by_two_at_once_in_bad_weather(s3: S3Server, tmp_path: Path):
    """Two committers over a store that loses replies: each snapshot is committed once, and both end right."""
    with Proxy(s3.endpoint) as proxy:
        store = OnS3(s3, tmp_path, proxy.endpoint)
        first, second, *_ = nights(store.local)
        for number, night in enumerate((first, second), start=1):
            night()
            store.upload()
            proxy.weather = Weather(("lost reply", "reset", "unavailable"), 0.05)
            with ThreadPoolExecutor(4) as pool:
                twice = [*store.lakes(), *store.lakes()]
                commits = list(pool.map(lambda lake: commit_newest(lake, store.snapshots), twice))
            assert any(commits)
            proxy.weather = Weather()
            iceberg, ids = store.read()
            assert ids == [row["id"] for row in store.local.rows(number)]
            assert len(iceberg.snapshots()) == number
        assert proxy.injected.total() > 0
