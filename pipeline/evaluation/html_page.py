"""A page without scripts, links or fonts of others: a template of this package, in the style that all share."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup


def render_page(template: str, filters: Mapping[str, Callable[..., str]], **parts: Any) -> str:
    """Writes a page as HTML. Every text in it is escaped, for it is the corpus's.

    Args:
        template: the name of its file.
        filters: that the template uses.
        parts: what it shows.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters
    return environment.from_string(_text(template)).render(style=Markup(_text("style.css")), **parts)


def _text(name: str) -> str:
    return files("pipeline.evaluation").joinpath(name).read_text(encoding="utf-8")
