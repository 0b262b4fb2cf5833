"""`rookery errors` and `max_errors`, through the job and the command line."""

import json
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.label import run_job
from pipeline.errors import ErrorBudgetError
from tests.jobs.test_label import job, job_file, rookery, tree


def write_corpus(folder: Path, *others: dict[str, object]) -> None:
    """One file with good documents, written once, and one with the others: two units."""
    good = (document("one", "a proposal"), document("two", "another"))
    (folder / "corpus").mkdir(exist_ok=True)
    for name, documents in {"good": good, "other": others}.items():
        file = folder / "corpus" / f"{name}.jsonl"
        if name == "other" or not file.exists():
            file.write_text("".join(json.dumps(document) + "\n" for document in documents))


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


@pytest.mark.ray
def test_too_many_errors_end_the_job_with_exit_code_4_and_publish_nothing(tmp_path: Path):
    write_corpus(tmp_path, null("three"), document("four", " "), null("five"))
    path = job_file(tmp_path / "job.yaml", job(tmp_path, "max_errors=50%"))
    stopped = rookery("label", "--config", path)
    assert stopped.returncode == 4, stopped.stderr
    assert "3 of 5 documents could not be labelled, max_errors allows 50% of them" in stopped.stderr
    assert "null_text (read) 2, empty_text (tokenize) 1" in stopped.stderr
    assert "rookery errors --config" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert {name.partition("/")[0] for name in tree(tmp_path / "table")} == {"_units"}

    shown = errors(tmp_path)
    assert "errors of 2 finished units, which no snapshot holds yet" in shown
    assert "null_text read 2" in shown
    assert (
        f"null_text id three\nfile://{tmp_path}/corpus/other.jsonl at 0: the text is null" in shown
    )


@pytest.mark.ray
def test_a_raised_budget_publishes_what_is_there(ray: None, tmp_path: Path):
    write_corpus(tmp_path, null("three"))
    with pytest.raises(ErrorBudgetError, match=r"1 of 3 documents .* allows 0;"):
        run_job(job(tmp_path, "max_errors=0"))
    before = tree(tmp_path / "table")
    with pytest.raises(ErrorBudgetError):  # of units that an earlier run did
        run_job(job(tmp_path, "max_errors=0"))
    assert tree(tmp_path / "table") == before
    manifest = run_job(job(tmp_path, "max_errors=1"))
    assert manifest is not None
    assert manifest.counts["errors"] == 1
    units = {name: data for name, data in tree(tmp_path / "table").items() if "_units/" in name}
    assert units == before


@pytest.mark.ray
def test_a_fixed_document_is_labelled_by_the_next_run(ray: None, tmp_path: Path):
    write_corpus(tmp_path, null("three"), null("four"))
    run_job(job(tmp_path))
    assert published_reasons(tmp_path, 1) == [("four", "null_text"), ("three", "null_text")]
    before = errors(tmp_path)
    assert "errors of snapshot 1" in before
    assert "null_text read 2" in before

    write_corpus(tmp_path, document("three", "a proposal, now with text"), null("four"))
    changed = errors(tmp_path)
    assert "errors of snapshot 1" in changed
    assert "1 of 2 units are not labelled yet" in changed

    manifest = run_job(job(tmp_path))
    assert manifest is not None
    assert manifest.counts == {
        "documents": 4, "predictions": 3, "errors": 1, "units": 2, "source_files": 2,
    }  # fmt: skip
    assert published_reasons(tmp_path, 2) == [("four", "null_text")]
    data = f"{tmp_path}/table/data/snapshot={2:020d}/**/*.parquet"
    assert ("three",) in duckdb.sql(f"select id from '{data}'").fetchall()
    after = errors(tmp_path)
    assert "null_text read 1" in after
    assert "id three" not in after

    write_corpus(tmp_path, document("three", "fixed"), document("four", "fixed"))
    run_job(job(tmp_path))
    assert published_reasons(tmp_path, 3) == []
    assert "errors of snapshot 3, 4 documents\nNo errors." in errors(tmp_path)


@pytest.mark.ray
def test_errors_of_a_run_that_a_budget_stopped_are_shown_before_those_of_the_snapshot(
    ray: None, tmp_path: Path
):
    write_corpus(tmp_path, document("three", "fine"))
    run_job(job(tmp_path))
    write_corpus(tmp_path, null("three"))
    with pytest.raises(ErrorBudgetError):
        run_job(job(tmp_path, "max_errors=0"))
    shown = errors(tmp_path)
    assert "errors of 2 finished units, which no snapshot holds yet" in shown
    assert "id three" in shown


@pytest.mark.ray
def test_the_first_documents_are_listed_and_all_are_counted(ray: None, tmp_path: Path):
    write_corpus(tmp_path, *(null(f"null-{number}") for number in range(25)))
    run_job(job(tmp_path))
    assert errors(tmp_path).count("the text is null") == 20
    assert errors(tmp_path, "--limit", "3").count("the text is null") == 3
    for limit in ("0", "3", "100"):
        assert "null_text read 25\n" in errors(tmp_path, "--limit", limit)


@pytest.mark.ray
def test_what_an_id_holds_does_not_command_the_terminal(ray: None, tmp_path: Path):
    write_corpus(tmp_path, null("\x1b[2J\u202e[red]x"))
    run_job(job(tmp_path))
    shown = errors(tmp_path)
    assert r"id \x1b[2J\u202e[red]x" in shown
    assert "\x1b" not in shown


def test_before_the_first_run_nothing_is_labelled(tmp_path: Path):
    write_corpus(tmp_path, null("three"))
    shown = errors(tmp_path)
    assert "errors of 0 finished units" in shown
    assert "2 of 2 units are not labelled yet" in shown
    assert "No errors" in shown
    assert not (tmp_path / "table").exists()
