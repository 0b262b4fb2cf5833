"""One HTML file without scripts, links or fonts of others: the frame and the style sheet that all reports share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure; `before`: the same with nothing fitted; `below`: what else is said of it."""

    name: str
    value: str
    before: str | None = None
    below: str | None = None


@dataclass(frozen=True, slots=True)
class Heading:
    """What the report is of: a title, a line below it, notes, and facts for its end."""

    title: str
    subtitle: str
    notes: Sequence[str]
    facts: Mapping[str, str]


def figure(value: float | None) -> str:
    """Writes a figure with three decimals; a dash for none."""
    return "–" if value is None else f"{value:.3f}"


def render_page(template: str, **parts: object) -> str:
    """Fills a template in Jinja's language with `parts`; it extends page.html, which has the style sheet of all."""
    # seldom needed where this module is imported, and it takes 50 ms
    from jinja2 import DictLoader, Environment

    frame = DictLoader({"page.html": stored_template("page.html")})
    environment = Environment(loader=frame, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure
    return environment.from_string(template).render(style=Markup(stored_template("report.css")), **parts)


def stored_template(name: str) -> str:
    """Reads a file that lies beside this module."""
    return files("pipeline.evaluation").joinpath(name).read_text(encoding="utf-8")
