"""`rookery snapshots` and `rookery rollback`, and what the next nights' `rookery label` makes of them."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.label import run_job
from jobs.sample import CHECKPOINT
from pipeline.errors import ConfigError, HeldBackError
from pipeline.planning.plan import make_plan
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots
from tests.jobs.corpora import documents, write_every_format
from tests.jobs.test_label import job
from tests.labelling import label_here
from tests.tables.test_publish import Table


def shown(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "150"}).invoke(app, arguments)
    if result.exception:
        raise result.exception
    return " ".join(result.output.split())


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path / "table")
    table.publish(table.unit(1), table.unit(2, "b", failed=True))
    table.publish(table.unit(1), table.unit(3))
    table.publish(table.unit(1), partial=True)
    return table


def test_snapshots_are_listed_with_what_changed(table: Table):
    lines = shown("snapshots", str(table.folder))
    columns = "snapshot published (UTC) checkpoint predictions errors documents files size"
    assert columns in lines
    assert " 1 model 3 1 +4 3 +3 " in lines
    assert " 2 model 4 0 +2 −2 2 +1 −2 " in lines
    assert " kB newest 3 model 2 0 1 " in lines
    assert lines.endswith("partial")


def test_a_rollback_says_what_it_did_and_what_follows(table: Table):
    lines = shown("rollback", str(table.folder), "1")
    assert "Snapshot 4 is snapshot 1 again: 3 predictions, 1 error" in lines
    assert "Documents: 2 added, 0 changed, 2 removed, 2 unchanged since snapshot 2." in lines
    assert "Nothing was deleted: snapshot 2 can still be read, and rolled back to." in lines
    assert "table.undo_rollback: true" in lines
    assert shown("rollback", str(table.folder), "1").startswith("Nothing to do: snapshot 4, the newest, holds what")
    assert shown("snapshots", str(table.folder)).endswith("newest, 1 again")


def test_snapshots_are_drawn_and_written_as_json(table: Table, tmp_path: Path):
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    shown("snapshots", str(table.folder), "--plot", str(page), "--json", str(figures))
    text = page.read_text()
    assert "2 added, 2 removed" in text
    assert "1 partial snapshot" in text
    listed = json.loads(figures.read_text())
    assert [snapshot["snapshot"] for snapshot in listed] == [1, 2, 3]
    assert [snapshot["changes"] for snapshot in listed] == [
        {"added": 4, "changed": 0, "removed": 0, "unchanged": 0},
        {"added": 2, "changed": 0, "removed": 2, "unchanged": 2},
        None,
    ]
    for snapshot in listed:
        assert {label: sum(bins) for label, bins in snapshot["scores"].items()} == snapshot["labels"]
        assert not {"files", "removed"} & snapshot.keys()


def test_a_folder_that_is_no_table_is_refused(tmp_path: Path):
    for command in (["snapshots", str(tmp_path)], ["rollback", str(tmp_path), "1"]):
        with pytest.raises(ConfigError, match=f"{tmp_path}: has no snapshot"):
            shown(*command)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ("_delta_log/0.json", "this looks like a Delta table"),
        ("metadata/v1.metadata.json", "this looks like an Iceberg table"),
        ("config.json", "this looks like a checkpoint"),
        (None, "nothing is there"),
    ],
)
def test_what_lies_where_no_table_is_said(tmp_path: Path, made: str | None, what: str):
    folder = tmp_path / "other"
    if made:
        (folder / made).parent.mkdir(parents=True)
        (folder / made).write_text("{}")
    for command in (["snapshots"], ["export", "-"], ["rollback", "1"], ["vacuum"], ["sql", "--engine", "duckdb"]):
        with pytest.raises(ConfigError, match=f"expected the folder that table.uri of a job names, and {what}"):
            shown(command[0], str(folder), *command[1:])


def test_a_file_is_no_table(tmp_path: Path):
    (tmp_path / "part.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match="and this is a file"):
        shown("snapshots", str(tmp_path / "part.parquet"))


@pytest.mark.ray
def test_the_nights_after_a_rollback(ray: None, tmp_path: Path):
    """The good job goes on, the bad one is held back until somebody says that it is right."""
    found = documents(12)
    write_every_format(tmp_path / "corpus", found[:6])
    checkpoint = shutil.copytree(CHECKPOINT, tmp_path / "recalibrated")
    settings = json.loads((checkpoint / "rookery.json").read_text())
    (checkpoint / "rookery.json").write_text(json.dumps(settings | {"temperature": 9.0}))
    recalibrated = f"checkpoint.uri={checkpoint}"
    good, bad = job(tmp_path), job(tmp_path, recalibrated)
    label_here(make_plan(good))
    run_job(good)
    run_job(bad)
    shown("rollback", str(tmp_path / "table"), "1")
    before = {path for path in (tmp_path / "table").rglob("*") if not {"_units", "_runs"} & {*path.parts}}
    for dry_run in (True, False):
        with pytest.raises(HeldBackError, match="snapshot 3 is snapshot 1 again, by a rollback at 20"):
            run_job(bad, dry_run=dry_run)
    assert {path for path in (tmp_path / "table").rglob("*") if not {"_units", "_runs"} & {*path.parts}} == before
    assert run_job(good) == Snapshots(Storage(), str(tmp_path / "table")).read(3)
    undone = run_job(job(tmp_path, recalibrated, "table.undo_rollback=true"))
    assert undone is not None
    assert (undone.snapshot, undone.parent, undone.decision_key) == (4, 3, make_plan(bad).task.key)
    assert "rollback" not in undone.run
