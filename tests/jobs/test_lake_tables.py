"""Lake tables follow whatever a command publishes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.label import run_job
from jobs.lake_commits import commit_registered
from pipeline.config.label import StorageSettings, parse_job
from pipeline.config.lakes import IcebergSettings
from pipeline.errors import ConfigError, UnavailableError
from pipeline.lakes.iceberg_lake import IcebergLake
from pipeline.lakes.lake_commit import commit_newest
from pipeline.lakes.lake_records import register
from pipeline.planning.plan import make_plan
from pipeline.storage.objects import Storage
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Snapshots
from tests.jobs.corpora import documents, write_every_format
from tests.jobs.test_label import job
from tests.labelling import label_here
from tests.lakes.readers import DeltaFolder, IcebergFolder
from tests.lakes.test_lake_commit import nights
from tests.s3 import free_ports
from tests.tables.test_publish import RUN, Table


def shown(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "150"}).invoke(app, arguments)
    if result.exception:
        raise result.exception
    return " ".join(result.output.split())


def test_a_run_with_nothing_else_to_do_commits_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_every_format(tmp_path / "corpus", documents(12))
    parquet = f"corpus.uris={tmp_path}/corpus/**/*.parquet"
    settings = job(tmp_path, "max_errors=100%", parquet)
    plan = make_plan(settings)
    label_here(plan)
    manifest = publish(plan.snapshots, plan.fragments, plan.publication, RUN)
    lakes = ["publish.iceberg.table=predictions.topics", f"publish.iceberg.properties={{warehouse: {tmp_path}/lake}}"]
    with_lakes = job(tmp_path, "max_errors=100%", parquet, *lakes, f"publish.delta.uri={tmp_path}/delta")
    assert run_job(with_lakes) == manifest
    printed = " ".join(capsys.readouterr().err.split())
    for name in ("Iceberg table predictions.topics of catalog 'rookery'", f"Delta table {tmp_path}/delta"):
        assert f"Committed snapshot 1 to {name}: {manifest.counts['predictions']:,} rows" in printed
    delta, files = DeltaFolder(tmp_path / "delta").rows(), [file for file in manifest.files if file.kind == "data"]
    assert len(delta) == sum(file.rows for file in files)
    iceberg = IcebergSettings(table="predictions.topics", properties={"warehouse": f"{tmp_path}/lake"})
    version = IcebergLake(iceberg, Storage()).load()
    assert version is not None
    assert sorted(version.files.values()) == sorted(file.rows for file in files)
    run_job(with_lakes)
    assert "Committed" not in capsys.readouterr().err
    records = [json.loads(path.read_text()) for path in (tmp_path / "table/_lakes").iterdir()]
    assert sorted(name for record in records for name, value in record.items() if value) == ["delta", "iceberg"]


def test_a_lake_table_that_can_never_be_committed_to_is_said_before_any_work(tmp_path: Path):
    table = Table(tmp_path / "other")
    table.publish(table.unit(1))
    folder = DeltaFolder(tmp_path / "delta")
    commit_newest(folder.lake(), table.snapshots)
    settings = parse_job(
        "", ["corpus.uris=none", "checkpoint.uri=none", "table.uri=none", f"publish.delta.uri={folder.folder}"]
    )
    with pytest.raises(ConfigError, match=r"is that of file://.*other"):
        run_job(settings)


def test_rollback_erase_and_vacuum_take_lakes_along(tmp_path: Path):
    table, folder = Table(tmp_path / "table"), IcebergFolder(tmp_path / "lake")
    for night in nights(table)[:2]:
        night()
    register(table.snapshots, folder.lake())
    assert "Committed snapshot 3 to Iceberg table" in shown("rollback", str(table.folder), "1")
    assert len(folder.rows()) == 5
    (tmp_path / "ids").write_text("1-x\n")
    printed = shown("erase", str(table.folder), str(tmp_path / "ids"))
    assert "Committed snapshot 3 to Iceberg table" in printed
    assert "older ones still have them until they are gone: expire Iceberg's snapshots" in printed
    assert "1-x" not in folder.rows()["id"].to_pylist()
    assert "records of lakes" in shown("vacuum", str(table.folder))


def test_a_catalog_that_is_away_leaves_the_snapshot_published(tmp_path: Path):
    table = Table(tmp_path / "table")
    table.publish(table.unit(1))
    (port,) = free_ports(1)
    settings = IcebergSettings(table="a.b", properties={"uri": f"http://127.0.0.1:{port}"})
    register(table.snapshots, IcebergLake(settings, Storage()))
    snapshots = Snapshots(Storage(StorageSettings(retry=0)), str(table.folder))
    with pytest.raises(UnavailableError, match=r"(?s)newest snapshot of .* is published, and .*the next run commits"):
        commit_registered(snapshots)
