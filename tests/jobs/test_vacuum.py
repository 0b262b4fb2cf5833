"""`rookery vacuum` on a table that real work made, and what it says."""

import time
from pathlib import Path

import pytest

from jobs.labelled_table import run_record
from pipeline.errors import ConfigError
from pipeline.planning.plan import make_plan
from pipeline.planning.survey import make_survey
from pipeline.storage.objects import Storage
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.object_names import object_name
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Snapshots
from tests.jobs.corpora import documents, write_every_format
from tests.jobs.test_label import job
from tests.jobs.test_rollback import shown
from tests.labelling import label_here
from tests.tables.test_publish import tree
from tests.tables.test_vacuum import KeyTable, months


@pytest.fixture
def table(tmp_path: Path) -> KeyTable:
    return months(tmp_path / "table")


def test_a_dry_run_says_what_would_go_and_what_to_do(table: KeyTable):
    table.put("notes.txt")
    before = tree(table.folder)
    lines = shown("vacuum", str(table.folder), "--keep-snapshots", "2")
    assert tree(table.folder) == before
    assert "Kept snapshots: 4–5 kept" in lines
    assert " data files 4 " in lines
    assert "units of kept snapshots" in lines
    assert "unreachable objects size may be deleted" in lines
    assert "Unknown 1 object, 1 bytes: notes.txt. No Rookery" in lines
    assert lines.endswith(
        "Dry run: nothing was written or deleted. With --delete this command lists these, and deletes them when it is "
        "run again, 7 days after the listing or later."
    )


def test_both_phases_are_one_command(table: KeyTable):
    command = ("vacuum", str(table.folder), "--delete", "--keep-snapshots", "2")
    lines = shown(*command)
    assert "Deleted nothing." in lines
    assert "if nothing needs them then." in lines
    table.later(8)
    assert "With --delete this command deletes" in shown(*command[:2], *command[3:])
    lines = shown(*command)
    assert " objects, " in lines.partition("Deleted ")[2]
    assert "Vacuumed snapshots: 1–3. Their manifests stay." in lines
    assert "Nothing is unreachable." in shown(*command)
    lines = shown("snapshots", str(table.folder))
    assert lines.count("vacuumed") == 3
    assert lines.endswith("newest")


def test_vacuumed_snapshots_are_refused_with_that_reason(table: KeyTable):
    for _ in range(2):
        shown("vacuum", str(table.folder), "--delete", "--keep-snapshots", "2")
        table.later(8)
    for command in (["rollback", str(table.folder), "1"], ["compare", f"{table.folder}@1", str(table.folder)]):
        with pytest.raises(ConfigError, match="snapshot 1 was vacuumed at 20"):
            shown(*command)


def test_every_object_of_real_work_has_a_name_that_is_known(tmp_path: Path):
    """Of every format, streams too, with a local disk's hidden files; the fault suite does so for killed runs."""
    write_every_format(tmp_path / "corpus", documents(12))
    label = job(tmp_path)
    plan = make_plan(label)
    label_here(plan)
    plan = plan.cut_streams()
    manifest = publish(
        plan.snapshots, plan.fragments, plan.publication, run_record(label, plan.publication.content, time.time())
    )
    LastSurvey(plan.storage, label.table.uri).write(make_survey(label).digest, manifest.content)
    shown("rollback", label.table.uri, "1")
    lines = shown("vacuum", label.table.uri, "--delete")
    names = {path: object_name(path) for path in tree(Path(label.table.uri))}
    assert [path for path, name in names.items() if name is None] == []
    kinds = {name.kind for name in names.values() if name}
    assert kinds >= {"fragments", "data files", "tallies", "stream lengths", "manifests", "claims", "hints"}
    assert "Nothing is unreachable" in lines
    assert "Unknown" not in lines
    assert Snapshots(Storage(), label.table.uri).latest() == manifest
