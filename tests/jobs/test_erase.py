"""`rookery erase` on a real table of every format, and what the next nights' `rookery label` makes of it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.label import run_job
from pipeline.config.label import Job
from pipeline.errors import ConfigError
from pipeline.planning.plan import plan_of
from pipeline.planning.survey import make_survey, unchanged_snapshot
from pipeline.storage.objects import Storage
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Manifest, Snapshots
from tests.jobs.corpora import documents, write_every_format
from tests.jobs.test_label import job
from tests.labelling import label_here
from tests.tables.test_erasure import holding
from tests.tables.test_publish import Table, tree


def shown(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "150"}).invoke(app, arguments)
    if result.exception:
        raise result.exception
    return " ".join(result.output.split())


def label_without_ray(job: Job) -> Manifest:
    survey = make_survey(job)
    plan = plan_of(survey)
    label_here(plan)
    plan = plan.cut_streams()
    manifest = publish(plan.snapshots, plan.fragments, plan.publication, {"run_id": "here"})
    LastSurvey(plan.storage, job.table.uri).write(survey.digest, manifest.content)
    return manifest


def write_ids(folder: Path, *ids: str) -> str:
    path = folder / "ids.txt"
    path.write_text("\n".join(ids) + "\n")
    return str(path)


def test_documents_of_every_format_go_and_stay_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    written = write_every_format(tmp_path / "corpus", documents(10))
    gone = [written[n].id for n in (0, 2, 4, 6, 8)]  # of Parquet, JSON Lines, gzip, CSV and text, whose id is its URI
    kept = sorted(document.id for document in written if document.id not in gone)
    nightly, table = job(tmp_path), tmp_path / "table"
    first = label_without_ray(nightly)
    before = tree(table)
    ids = write_ids(tmp_path, *gone, "nobody")
    looked = shown("erase", "--dry-run", str(table), ids)
    assert "ids 6: 5 found, 1 nowhere in the table nowhere: nobody hold them" in looked
    assert tree(table) == before
    lines = shown("erase", str(table), ids)
    assert "ids 6: 5 found, 1 nowhere in the table nowhere: nobody rewritten" in lines
    assert "1 manifest removed" in lines
    assert holding(table, *gone) == set()
    newest = Snapshots(Storage(), str(table)).latest()
    assert newest is not None
    assert (newest.counts["erased"], newest.content) == (5, first.content)

    assert unchanged_snapshot(make_survey(nightly)) is None  # a plan has to tell
    assert label_without_ray(nightly) == newest
    assert unchanged_snapshot(make_survey(nightly)) == newest

    Erasures(Storage(), str(table)).begin(["x"])  # and is killed
    run_job(nightly, dry_run=True)
    assert "erasure not done, or at work" in " ".join(capsys.readouterr().err.split())
    shown("erase", str(table), write_ids(tmp_path, "x"))

    # all files are others now: every document is read anew, under another unit's id
    other = write_every_format(tmp_path / "again" / "corpus", documents(10))
    again = job(tmp_path, f"corpus.uris={tmp_path}/again/corpus/**")
    second = label_without_ray(again)
    assert holding(table, *(id_ for id_ in gone if id_ != gone[-1])) == set()
    rows = [row["id"] for row in Table(table).rows(second.snapshot)]
    assert rows == sorted({*kept, other[8].id} - {written[9].id} | {other[9].id})
    assert (second.parent, second.counts["erased"]) == (1, 4)


@pytest.mark.ray
def test_a_run_leaves_out_what_was_erased_before(ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    written = write_every_format(tmp_path / "corpus", documents(5))
    table = tmp_path / "table"
    (table / "_units").mkdir(parents=True)
    gone = [written[0].id, written[3].id]
    shown("erase", str(table), write_ids(tmp_path, *gone))
    manifest = run_job(job(tmp_path))
    assert manifest is not None
    assert (manifest.counts["documents"], manifest.counts["erased"]) == (3, 2)
    assert "2 more of the corpus were left out: their ids were erased from this table" in capfd.readouterr().err
    assert holding(table, *gone) == set()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty; expected the ids to erase, one a line"),
        (b"\r\n\n", "is empty"),
        (b"one\n\xff\n", "at byte 4: invalid start byte; expected UTF-8"),
        (None, "no such file; expected one with the ids to erase"),
    ],
)
def test_a_file_that_names_no_ids_is_refused(tmp_path: Path, content: bytes | None, problem: str):
    path = tmp_path / "ids.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        shown("erase", str(tmp_path), str(path))


def test_lines_of_the_file_are_ids_as_they_are(tmp_path: Path):
    table = Table(tmp_path / "table")
    odd = [" a b ", "ü\u2028x", 'q"u', "#hash"]
    table.publish(table.documents(1, [*odd, "other"]))
    path = tmp_path / "ids.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*odd, odd[0]]).encode())
    assert "ids 4: 4 found rewritten 1 fragment" in shown("erase", str(table.folder), str(path))
    assert [row["id"] for row in table.rows(1)] == ["other"]
