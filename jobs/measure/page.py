"""What a measuring command found, in a page of docs/measurements, between two comments; the prose around them stays."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.cores import available_cores, processor_name
from pipeline.errors import ConfigError

BEGIN, END = "<!-- measured: written by the command -->", "<!-- end of what was measured -->"


class Page:
    """A page of Markdown whose figures a command writes anew; nothing without a path.

    Raises ConfigError, before anything is measured, for a file that doesn't have the two comments.
    """

    def __init__(self, path: Path | None) -> None:
        """Look at the page."""
        self._path = path
        if path and not (path.is_file() and BEGIN in path.read_text(encoding="utf-8").partition(END)[0]):
            raise ConfigError(f"--markdown {path}: expected a page with the lines {BEGIN!r} and {END!r}; add them")

    def write(self, source: str, parts: Iterable[str]) -> None:
        """Replace the figures; `source` says where they are from."""
        if self._path:
            text = self._path.read_text(encoding="utf-8")
            before, after = text.partition(BEGIN)[0], text.partition(END)[2]
            lines = "\n\n".join([BEGIN, source, *parts, END])
            self._path.write_text(before + lines + after, encoding="utf-8")


def made_by() -> str:
    """Says in a line which command gave the figures, and on which machine."""
    module = sys.modules["__main__"].__spec__
    command = shlex.join(["python", "-m", module.name if module else sys.argv[0], *sys.argv[1:]])
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"By `{command}` on {available_cores()} cores of {processor_name()}, {gib:.0f} GiB."


def markdown_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Writes rows, the header first, as a table whose first column is to the left, the others to the right."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---", *["---:"] * (len(head) - 1)), *body))
