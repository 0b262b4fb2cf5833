"""Sentences that several packages put into what people read."""

from collections.abc import Sequence

NAMES_LISTED = 8


def listed(names: Sequence[str], shown: int = NAMES_LISTED) -> str:
    """Joins the first `shown` names by commas and counts the others: `a, b and 3 more`; `none` for no names."""
    more = len(names) - shown
    return (", ".join(names[:shown]) or "none") + (f" and {more:,} more" if more > 0 else "")
