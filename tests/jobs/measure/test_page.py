import itertools
from pathlib import Path

from markdown_it import MarkdownIt
from rich.table import Table

from jobs.measure.page import write_page


def test_a_page_says_what_gave_its_figures_and_on_which_machine(tmp_path: Path):
    table = Table("process", "peak, MB")
    table.add_row("driver", "605")
    table.add_section()
    table.add_row("worker", "658")
    write_page(tmp_path / "memory.md", "Memory", ["labelled in 9 s", table])
    page = (tmp_path / "memory.md").read_text(encoding="utf-8")
    title, made_by, *_ = page.split("\n\n")
    assert title == "# Memory"
    assert made_by.startswith("By `python -m ")
    assert made_by.endswith(" GiB.")
    tokens = MarkdownIt().enable("table").parse(page)
    cells = [after.content for token, after in itertools.pairwise(tokens) if token.type in ("th_open", "td_open")]
    assert cells == ["process", "peak, MB", "driver", "605", "worker", "658"]
