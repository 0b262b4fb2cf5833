"""What is not silently published: errors, labels below thresholds, ids that are there twice.

Through the job and the command line.
"""

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.label import run_job
from jobs.sample import CHECKPOINT
from pipeline.config.label import Job
from pipeline.errors import CorpusError, ErrorBudgetError
from pipeline.planning.plan import make_plan
from pipeline.tables.snapshots import Manifest
from tests.jobs.test_label import job, job_file, rookery, tree
from tests.labelling import label_here


def write_corpus(folder: Path, *others: dict[str, object]) -> None:
    """One file with good documents, written once, and one with the others: two units."""
    good = (document("one", "a proposal"), document("two", "another"))
    (folder / "corpus").mkdir(exist_ok=True)
    for name, documents in {"good": good, "other": others}.items():
        file = folder / "corpus" / f"{name}.jsonl"
        if name == "other" or not file.exists():
            file.write_text("".join(json.dumps(document) + "\n" for document in documents))


def tolerant(folder: Path) -> Job:
    return job(folder, "max_errors=100%")


def document(id_: str, text: str) -> dict[str, object]:
    return {"id": id_, "text": text}


def null(id_: str) -> dict[str, object]:
    return {"id": id_, "text": None}


def errors(folder: Path, *options: str) -> str:
    """What `rookery errors` prints into a log; spaces between columns are one."""
    path = job_file(folder / "job.yaml", job(folder))
    result = CliRunner().invoke(app, ["errors", "--config", path, *options])
    assert result.exit_code == 0, result.output
    return "\n".join(" ".join(line.split()) for line in result.stdout.splitlines())


def published_reasons(folder: Path, snapshot: int) -> list[tuple[str, str]]:
    found = list((folder / "table" / "errors" / f"snapshot={snapshot:020d}").rglob("*.parquet"))
    if not found:
        return []
    files = duckdb.read_parquet([str(file) for file in found])
    rows: list[tuple[str, str]] = files.order("id").project("id, reason").fetchall()
    return rows


def run_labelled_here(settings: Job) -> Manifest | None:
    """The job, when all its units are done."""
    label_here(make_plan(settings))
    return run_job(settings)


def test_too_many_errors_end_the_job_with_exit_code_4_and_publish_nothing(tmp_path: Path):
    write_corpus(tmp_path, null("three"), document("four", " "), null("five"))
    label_here(make_plan(job(tmp_path)))
    path = job_file(tmp_path / "job.yaml", job(tmp_path, "max_errors=50%"))
    stopped = rookery("label", "--config", path, "--set", "compute.dtype=fp32")
    assert stopped.returncode == 4, stopped.stderr
    assert "3 of 5 documents could not be labelled, max_errors allows 50% of them" in stopped.stderr
    other = f"in file://{tmp_path}/corpus/other.jsonl"
    assert f"\n  null_text (read) 2, such as id 'three' {other} at 0: the text is null\n" in stopped.stderr
    assert f"\n  empty_text (tokenize) 1, such as id 'four' {other} at 30: " in stopped.stderr
    assert f"\nList them with `rookery errors --config {path} --set compute.dtype=fp32`;" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert {name.partition("/")[0] for name in tree(tmp_path / "table")} == {"_units"}

    shown = errors(tmp_path)
    assert "errors of 2 finished units, which no snapshot holds yet" in shown
    assert "null_text read 2" in shown
    assert f"null_text id three\nfile://{tmp_path}/corpus/other.jsonl at 0: the text is null" in shown


def test_a_raised_budget_publishes_what_is_there(tmp_path: Path):
    write_corpus(tmp_path, null("three"))
    with pytest.raises(ErrorBudgetError, match=r"1 of 3 documents .* allows 0\."):
        run_labelled_here(job(tmp_path, "max_errors=0"))
    before = tree(tmp_path / "table")
    with pytest.raises(ErrorBudgetError):  # of units that an earlier run did
        run_job(job(tmp_path, "max_errors=0"))
    assert tree(tmp_path / "table") == before
    manifest = run_job(job(tmp_path, "max_errors=1"))
    assert manifest is not None
    assert manifest.counts["errors"] == 1
    units = {name: data for name, data in tree(tmp_path / "table").items() if "_units/" in name}
    assert units == before


def test_a_fixed_document_is_labelled_by_the_next_run(tmp_path: Path):
    write_corpus(tmp_path, null("three"), null("four"))
    run_labelled_here(tolerant(tmp_path))
    assert published_reasons(tmp_path, 1) == [("four", "null_text"), ("three", "null_text")]
    before = errors(tmp_path)
    assert "errors of snapshot 1" in before
    assert "null_text read 2" in before

    write_corpus(tmp_path, document("three", "a proposal, now with text"), null("four"))
    changed = errors(tmp_path)
    assert "errors of snapshot 1" in changed
    assert "1 of 2 units are not labelled yet" in changed

    manifest = run_labelled_here(tolerant(tmp_path))
    assert manifest is not None
    assert manifest.counts == {
        "documents": 4,
        "predictions": 3,
        "errors": 1,
        "unlabelled": 0,
        "duplicate_ids": 0,
        "erased": 0,
        "units": 2,
        "source_files": 2,
    }
    assert published_reasons(tmp_path, 2) == [("four", "null_text")]
    data = f"{tmp_path}/table/data/snapshot={2:020d}/**/*.parquet"
    assert ("three",) in duckdb.sql(f"select id from '{data}'").fetchall()
    after = errors(tmp_path)
    assert "null_text read 1" in after
    assert "id three" not in after

    write_corpus(tmp_path, document("three", "fixed"), document("four", "fixed"))
    run_labelled_here(job(tmp_path))
    assert published_reasons(tmp_path, 3) == []
    assert "errors of snapshot 3, 4 documents\nNo errors." in errors(tmp_path)


def test_errors_of_a_run_that_a_budget_stopped_are_shown_before_those_of_the_snapshot(tmp_path: Path):
    write_corpus(tmp_path, document("three", "fine"))
    run_labelled_here(job(tmp_path))
    write_corpus(tmp_path, null("three"))
    with pytest.raises(ErrorBudgetError):
        run_labelled_here(job(tmp_path))
    shown = errors(tmp_path)
    assert "errors of 2 finished units, which no snapshot holds yet" in shown
    assert "id three" in shown


def test_errors_are_counted_first_then_listed_and_chosen(tmp_path: Path):
    blank = document("\x1b[2J\u202e[red]x", " ")
    write_corpus(tmp_path, *(null(f"null-{number}") for number in range(25)), blank)
    run_labelled_here(tolerant(tmp_path))
    shown = errors(tmp_path)
    counts, _, listed = shown.partition("The first 20 of 26 (--all lists every one):\n")
    assert "null_text read 25\n" in counts
    assert "empty_text tokenize 1\n" in counts
    assert listed.count("the text is null") + listed.count("empty_text id") == 20
    every = errors(tmp_path, "--all")
    assert "All 26:\n" in every
    assert [every.count("the text is null"), every.count("empty_text id")] == [25, 1]
    chosen = errors(tmp_path, "--reason", "empty_text")
    assert "null_text" not in chosen
    assert "all 1\n" in chosen
    # what an id holds does not command the terminal
    assert r"empty_text id \x1b[2J\u202e[red]x" in chosen
    assert "\x1b" not in chosen
    assert "null_text read 25\n" in errors(tmp_path, "--file", "other.jsonl")
    none = errors(tmp_path, "--file", "good.jsonl", "--reason", "null_text")
    assert "No errors with --reason 'null_text' and --file 'good.jsonl'." in none


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What the terminal shows, folded lines as one."""
    shown = capsys.readouterr()
    return " ".join((shown.out + shown.err).split())


def test_the_summary_tells_of_errors_and_a_limit_that_is_set_later_judges_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_corpus(tmp_path, null("three"), document("four", " "))
    listing = "rookery errors --config a.yaml"
    label_here(make_plan(job(tmp_path)))
    run_job(tolerant(tmp_path), listing=listing)
    shown = said(capsys)
    assert "documents 4: 2 predictions, 2 errors errors null_text (read) 1, such as id 'three' in" in shown
    assert "empty_text (tokenize) 1, such as id 'four' in file://" in shown
    assert f"all of them: {listing} this run 0 documents in 0 units: 0 predictions, 0 errors" in shown
    run_job(tolerant(tmp_path), listing=listing)
    assert (
        "Nothing to do: snapshot 1 already holds these 4 documents (2 predictions, 2 errors: null_text 1, empty_text "
        f"1; `{listing}`). Nothing was published."
    ) in said(capsys)
    before = tree(tmp_path / "table")
    with pytest.raises(ErrorBudgetError, match=r"Snapshot 1, .* stays as it is") as stopped:
        run_job(job(tmp_path), listing=listing)
    assert "2 of 4 documents could not be labelled, max_errors allows 1% of them" in str(stopped.value)
    assert listing in str(stopped.value)
    assert tree(tmp_path / "table") == before


def test_labels_below_their_thresholds_and_what_was_done_before_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    checkpoint = Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))
    labels = list(json.loads((checkpoint / "config.json").read_text())["id2label"].values())
    write_corpus(tmp_path, document("three", "a proposal"))
    own = f"checkpoint.uri={checkpoint}"
    first = run_labelled_here(job(tmp_path, own))
    assert first is not None
    (checkpoint / "rookery.json").write_text(json.dumps({"thresholds": dict.fromkeys(labels, 1.0)}))
    capsys.readouterr()
    manifest = run_job(job(tmp_path, own))
    assert manifest is not None
    assert (manifest.labels, manifest.counts["unlabelled"]) == ({}, 3)
    assert manifest.checkpoint["uri"] == f"file://{checkpoint}"
    assert manifest.checkpoint["weights_digest"] == first.checkpoint["weights_digest"]
    assert manifest.checkpoint["thresholds"] == dict.fromkeys(labels, 1.0)
    shown = said(capsys)
    assert "no label 3 of the predictions: the most probable label is below its threshold" in shown
    assert "this run 0 documents in 0 units: 0 predictions, 0 errors; the other 3 were done before" in shown
    assert "(none) 3 █" in shown


def test_duplicate_ids_are_refused_or_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_corpus(tmp_path, document("one", "the same id as in the other file"))
    corpus = f"file://{tmp_path}/corpus"
    refused = rf"1 id is on more .*\n  'one' in {corpus}/good.jsonl at 0 and in {corpus}/other.jsonl at 0\n"
    for run in (run_labelled_here, run_job):
        with pytest.raises(CorpusError, match=refused):
            run(job(tmp_path))
    assert {path.name for path in (tmp_path / "table").iterdir()} == {"_units", "_runs"}
    capsys.readouterr()
    manifest = run_job(job(tmp_path, "corpus.duplicate_ids=keep"))
    assert manifest is not None
    assert manifest.counts["duplicate_ids"] == 1
    assert "ids 1 id is on several documents each (corpus.duplicate_ids: keep)" in said(capsys)
    with pytest.raises(CorpusError, match=refused):
        run_job(job(tmp_path))


def test_before_the_first_run_nothing_is_labelled(tmp_path: Path):
    write_corpus(tmp_path, null("three"))
    shown = errors(tmp_path)
    assert "errors of 0 finished units" in shown
    assert "2 of 2 units are not labelled yet" in shown
    assert "No errors" in shown
    assert not (tmp_path / "table").exists()
