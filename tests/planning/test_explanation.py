"""What is said of a document is what the next run then does."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.planning.explanation import explanations
from pipeline.planning.plan import make_plan
from tests.jobs.test_label import job_file
from tests.labelling import label_here
from tests.planning.test_new_editions import job, publish_here

TEXTS = {"same": "the same", "edited": "before", "gone": "soon gone", "empty": "text", "error": " "}


def write(folder: Path, texts: Mapping[str, str], name: str = "a", night: int = 1) -> None:
    (folder / "corpus").mkdir(exist_ok=True)
    path = folder / "corpus" / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"id": id_, "text": text}) + "\n" for id_, text in texts.items()))
    os.utime(path, (night, night))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, TEXTS)
    write(tmp_path, {"other": "another file"}, name="b")
    plan = make_plan(job(tmp_path))
    label_here(plan)
    publish_here(plan)
    return tmp_path


def outlooks(folder: Path, *ids: str) -> dict[str, str]:
    return {one.id: one.outlook for one in explanations(make_plan(job(folder)), list(ids))}


def test_a_table_that_is_true(folder: Path):
    told = outlooks(folder, "same", "error", "nobody")
    assert "is not computed again: unit" in told["same"]
    assert "stays an error, empty_text" in told["error"]
    assert "`--retry empty_text` computes it again" in told["error"]
    assert "the corpus has no document with this id" in told["nobody"]


def test_a_file_that_was_replaced(folder: Path):
    write(folder, {"same": "the same", "edited": "after", "empty": "", "new": "a new one"}, night=2)
    told = outlooks(folder, *TEXTS, "new")
    assert told["same"].startswith("is read again, and its scores are taken over")
    assert told["edited"].startswith("is computed: its file, or how it is cut, has changed since, and its text too")
    assert told["gone"].startswith("leaves the next snapshot")
    assert told["empty"].startswith("becomes an error, empty_text")
    assert told["new"].endswith("1 units are not labelled yet: if it is new, it is in one of them")
    assert sum(unit.windows for unit in label_here(make_plan(job(folder)))) == 2  # edited and new


def test_a_file_that_is_gone(folder: Path):
    (folder / "corpus" / "b.jsonl").unlink()
    assert outlooks(folder, "other")["other"] == "leaves the next snapshot: its file is no longer in the corpus"


def test_nothing_is_published_yet(tmp_path: Path):
    write(tmp_path, TEXTS)
    assert outlooks(tmp_path, "same")["same"].startswith("no snapshot; 1 units are not labelled yet")


def test_the_command(folder: Path):
    command = [
        "label",
        "--config",
        job_file(folder / "job.yaml", job(folder)),
        "--explain",
        "same",
        "--explain",
        "error",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "a run would have scoring key" in result.stdout
    assert "error        empty_text (tokenize): the text has no tokens" in result.stdout
