"""The pages that people read, taken apart: headings, links, code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from docs.reference import filled
from tests.conftest import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])
MARKDOWN = MarkdownIt().enable("table")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def tokens(page: Path) -> tuple[Token, ...]:
    """Block and inline tokens, in order, with what is generated."""
    found = MARKDOWN.parse(filled(page.read_text(encoding="utf-8")))
    return tuple(inner for token in found for inner in (token, *(token.children or [])))


def blocks(*languages: str) -> list[Block]:
    """Every page's fenced blocks in these languages."""
    return [
        Block(name(page), token.map[0] + 1 if token.map else 0, token.info, token.content)
        for page in PAGES
        for token in tokens(page)
        if token.type == "fence" and token.info in languages
    ]


def inline_code(page: Path) -> Iterator[str]:
    return (token.content for token in tokens(page) if token.type == "code_inline")


def links(page: Path) -> Iterator[str]:
    for token in tokens(page):
        if token.type == "link_open":
            yield str(token.attrs["href"])


@cache
def anchors(page: Path) -> frozenset[str]:
    """Headings as GitHub names them, and the ids that a page gives itself."""
    found = tokens(page)
    headings = [found[n + 1].content for n, token in enumerate(found) if token.type == "heading_open"]
    own = re.findall(r"\{#([\w-]+)\}", filled(page.read_text(encoding="utf-8")))
    return frozenset([*map(slug, headings), *own])


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
