"""`rookery compare`: what is shown, and the file with all of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.errors import ConfigError
from tests.tables.test_comparison import Documents, logits, table


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["compare", *arguments])
    if result.exception:
        raise result.exception
    return " ".join(result.stdout.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of two snapshots: of 40 documents, of which 4 cats became dogs and one is gone."""
    before: Documents = {f"{n:02d}": logits(n % 2) for n in range(40)}
    after: Documents = {
        id_: logits(1) if n in (0, 2, 4, 6) else value for n, (id_, value) in enumerate(before.items()) if n < 39
    }
    table(tmp_path / "table", {"a": before})
    table(tmp_path / "other", {"a": after})
    return tmp_path


def test_the_summary_comes_first(folder: Path):
    text = shown(f"{folder}/table@1", f"{folder}/other")
    assert text.startswith("before ")
    assert "snapshot 1: 40 predictions" in text  # a long path is folded
    assert "documents 39 in both (97.50% of all); 1 only before, 0 only after" in text
    assert "agreement 89.7436%, kappa 0.79" in text
    assert "4 have another label" in text
    assert "from to documents such as" in text
    assert "cat dog 4 00, 02, 04" in text
    assert "cat 20 16 41.03% -8.97%" in text
    assert "part=a 39 89.74%" in text


def test_all_of_it_goes_into_a_file(folder: Path):
    shown(f"{folder}/table", f"{folder}/other", "--json", str(folder / "changes.json"))
    figures = json.loads((folder / "changes.json").read_text())
    assert figures["flips"] == [{"before": "cat", "after": "dog", "documents": 4, "examples": ["00", "02", "04"]}]
    assert (figures["both"], figures["coverage"]) == (39, 0.975)
    assert figures["before"]["checkpoint"] == "s3://m/table"


@pytest.mark.parametrize(
    ("name", "problem"), [("table@7", "has no snapshot 7; it has 1"), ("nothing", "has no complete")]
)
def test_a_snapshot_that_is_not_there(folder: Path, name: str, problem: str):
    with pytest.raises(ConfigError, match=f"{name}: {problem}"):
        shown(f"{folder}/{name}", f"{folder}/table")
