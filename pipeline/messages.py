"""Sentences that several packages put into what people read."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

NAMES_LISTED = 8


def listed(names: Sequence[str], shown: int = NAMES_LISTED) -> str:
    """Joins the first `shown` names by commas and counts the others: `a, b and 3 more`; `none` for no names."""
    more = len(names) - shown
    return (", ".join(names[:shown]) or "none") + (f" and {more:,} more" if more > 0 else "")


def did_you_mean(name: str, names: Iterable[str], before: str = "") -> str:
    """Ends a message with the name that is spelled most nearly so, behind `before`; empty where none is near."""
    near = get_close_matches(name, list(names), n=1)
    return f"; did you mean {before}{near[0]}?" if near else ""
