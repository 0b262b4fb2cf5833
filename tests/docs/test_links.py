"""What pages and code name is there: files, headings, tests."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES, anchors, inline_code, links, name

SOURCES = ("*.py", "*.sh", "*.toml", "*.yaml", "deploy/Dockerfile")
CITED = re.compile(r"(?:[\w.-]+/)+[\w.-]+\.md\b|\b[A-Z_]+\.md\b")
PLACE = re.compile(r"(?:pipeline|jobs|tests|deploy|docs)/[\w./-]+")
ELSEWHERE = {"README.md", "NOTES.md"}  # in folders of others: a checkpoint's card, what lies beside a corpus


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path):
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}: there is no such file"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_place_that_a_page_names_is_in_the_repository(page: Path):
    for code in inline_code(page):
        if PLACE.fullmatch(code):
            assert (ROOT / code).exists(), f"{name(page)}: {code}"


def test_every_page_that_the_code_cites_is_in_the_repository():
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *SOURCES],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    missing = [
        f"{file}: {cited}"
        for file in files
        if (ROOT / file).is_file()
        for cited in CITED.findall((ROOT / file).read_text(encoding="utf-8"))
        if Path(cited).name not in ELSEWHERE and not _is_there(file, cited)
    ]
    assert not missing


def _is_there(file: str, cited: str) -> bool:
    return any(
        (folder / cited).is_file() for folder in (ROOT, (ROOT / file).parent, ROOT / "docs", ROOT / "jobs/sample")
    )


def test_every_test_that_security_names_exists():
    rows = re.findall(r"^\|.*\| (`tests/.*) \|$", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.M)
    assert len(rows) > 8
    for row in rows:
        for part in row.split(";"):
            file, *tests = re.findall(r"`([^`]+)`", part)
            code = (ROOT / file).read_text(encoding="utf-8")
            assert tests
            assert not [test for test in tests if f"def {test}(" not in code], part


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
