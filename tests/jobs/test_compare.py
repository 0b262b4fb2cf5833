"""`rookery compare`: what is shown, and the file with all of it."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.errors import ConfigError
from pipeline.tasks.classification import Classification
from tests.tables.test_candidates import held
from tests.tables.test_comparison import Documents, logits, table
from tests.tables.test_publish import Table


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


def test_rows_are_listed_when_asked_for(folder: Path):
    sides = (f"{folder}/table", f"{folder}/other")
    assert "score before after" not in shown(*sides)
    text = shown(*sides, "--rows", "--json", str(folder / "rows.json"))
    assert "06 cat dog 0.9647 0.9647" in text
    rows = json.loads((folder / "rows.json").read_text())["rows"]
    assert [(row["id"], row["before"], row["after"]) for row in rows] == [(f"0{n}", "cat", "dog") for n in (0, 2, 4, 6)]


def test_a_page_for_people(folder: Path):
    sides = (f"{folder}/table", f"{folder}/other")
    pages = {}
    for switches in ((), ("--rows",)):
        shown(*sides, "--html", str(folder / "page.html"), *switches)
        pages[switches] = (folder / "page.html").read_text()
    page = pages[()]
    order = [
        page.index(part) for part in ("<b>89.74%</b>", "<h2>Label by label", "What became what", "<h2>Scores", "part=a")
    ]
    assert order == sorted(order)
    assert "<title>cat, then dog: 4 of 20 documents (20%)</title>" in page
    assert "00, 02, 04" in page
    assert "<td>06</td>" not in page
    assert "<td>06</td>" in pages["--rows",]
    assert "<script" not in page
    tree = ElementTree.fromstring("<page>" + "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL)) + "</page>")
    assert len(tree) == 4  # two labels' changes, the matrix, the scores


def test_what_a_label_is_called_is_no_markup(tmp_path: Path):
    names = ("<b>cat", "dog & cat", "emu")
    task = Classification("single_label", names)
    for side, label in (("a", 0), ("b", 1)):
        table(tmp_path / side, {"<i>": {"<u>1": logits(label)}}, task)
    shown(f"{tmp_path}/a", f"{tmp_path}/b", "--rows", "--html", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;cat" in page
    assert not re.search("<b>cat|<u>1|<i>[^<]|dog & cat", page)


@pytest.mark.parametrize(
    ("name", "problem"), [("table@7", "has no snapshot 7; it has 1"), ("nothing", "has no complete")]
)
def test_a_snapshot_that_is_not_there(folder: Path, name: str, problem: str):
    with pytest.raises(ConfigError, match=f"{name.partition('@')[0]}: {problem}"):
        shown(f"{folder}/{name}", f"{folder}/table")


def test_a_candidate_whose_files_a_vacuum_took_is_named(tmp_path: Path):
    made = Table(tmp_path / "made")
    made.publish(made.unit(1))
    candidate = held(made, made.unit(1), made.unit(2))
    (made.folder / candidate.files[0].path).unlink()
    with pytest.raises(ConfigError, match=r"found nothing: candidate 2 can't be compared; a vacuum deletes files"):
        shown(f"{made.folder}@1", f"{made.folder}@candidate-2")
