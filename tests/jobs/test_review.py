"""`rookery review`: out and back, as a person sees it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.errors import ConfigError
from tests.reviewable import Document, publish_corpus


@pytest.fixture
def table(tmp_path: Path) -> str:
    made = [Document(f"{n:02d}", f"text {n}", (n % 7 / 3, n % 5 / 4 + n / 1e4, 0.1)) for n in range(30)]
    return publish_corpus(tmp_path, {"a": made})[0].table_uri


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["review", *arguments])
    if result.exception:
        raise result.exception
    return " ".join(result.stdout.split())


def test_out_and_back(table: str, tmp_path: Path):
    text = shown("export", table, f"{tmp_path}/review.json", "--documents", "20", "--control", "25%", "--seed", "3")
    assert text.startswith("20 documents (15 least sure, 5 control), with their text")
    tasks = json.loads((tmp_path / "review.json").read_text())
    for task in tasks:
        region = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["emu"]}}
        task["annotations"] = [{"result": [region]}]
    tasks[0]["annotations"][0]["was_cancelled"] = True
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    text = shown("import", table, f"{tmp_path}/back.json", f"{tmp_path}/labelled.parquet")
    predicted = [task["data"]["predicted"] for task in tasks[1:]]
    assert f"19 documents → {tmp_path}/labelled.parquet: people changed the label of" in text
    assert f"the label of {sum(label != 'emu' for label in predicted)}" in text
    assert "left out: 1 (skipped, or without an answer)" in text
    control = [task["data"] for task in tasks[1:] if task["data"]["review_reason"] == "control"]
    right = sum(data["predicted"] == "emu" for data in control)
    assert f"control: the prediction was right for {right} of {len(control)} documents" in text


def test_what_is_there_is_kept(table: str, tmp_path: Path):
    (tmp_path / "review.xml").write_text("mine")
    with pytest.raises(ConfigError, match=r"review.xml: is there already; give --overwrite"):
        shown("export", table, f"{tmp_path}/review.json")
    shown("export", table, f"{tmp_path}/review.json", "--overwrite")
    assert "<Choices" in (tmp_path / "review.xml").read_text()
    with pytest.raises(ConfigError, match="--control 110%: expected a share such as 10%"):
        shown("export", table, f"{tmp_path}/other.json", "--control", "110%")
