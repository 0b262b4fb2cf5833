import itertools
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.table import Table

from jobs.measure.figures import as_markdown
from jobs.measure.page import BEGIN, END, Page, made_by
from pipeline.errors import ConfigError

PAGES = Path(__file__).parents[3] / "docs" / "measurements"


def test_figures_are_replaced_and_the_prose_around_them_stays(tmp_path: Path):
    table = Table("process", "peak, MB")
    table.add_row("driver", "605")
    table.add_section()
    table.add_row("worker", "658")
    path = tmp_path / "memory.md"
    path.write_text(f"# Memory\n\n{BEGIN}\nold figures\n{END}\n\n## What it means\n", encoding="utf-8")
    Page(path).write(made_by(), ["labelled in 9 s", as_markdown(table)])
    page = path.read_text(encoding="utf-8")
    title, _, source, *_ = page.split("\n\n")
    assert title == "# Memory"
    assert source.startswith("By `python -m ")
    assert source.endswith(" GiB.")
    assert "old figures" not in page
    assert page.endswith(f"{END}\n\n## What it means\n")
    tokens = MarkdownIt().enable("table").parse(page)
    cells = [after.content for token, after in itertools.pairwise(tokens) if token.type in ("th_open", "td_open")]
    assert cells == ["process", "peak, MB", "driver", "605", "worker", "658"]


@pytest.mark.parametrize("text", [None, "# Memory\n", f"{END}{BEGIN}"], ids=["no file", "no comments", "turned round"])
def test_a_page_without_a_place_for_figures_is_refused_before_anything_is_measured(tmp_path: Path, text: str | None):
    path = tmp_path / "memory.md"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"memory.md: expected a page with the lines"):
        Page(path)


@pytest.mark.parametrize("name", ["speed", "load", "scale", "memory", "overhead", "estimate", "training"])
def test_the_pages_of_the_measuring_commands_have_one(name: str):
    Page(PAGES / f"{name}.md")
