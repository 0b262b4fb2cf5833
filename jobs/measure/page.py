"""What a measuring command found, as a page of docs/measurements: the machine, the command, the tables."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from pipeline.cores import available_cores


def write_page(path: Path | None, title: str, parts: Iterable[str | Table]) -> None:
    """Writes a page of Markdown that says where its figures are from; nothing without a path."""
    if path:
        text = [part if isinstance(part, str) else markdown_table(table_rows(part)) for part in parts]
        path.write_text("\n\n".join([f"# {title}", made_by(), *text]) + "\n", encoding="utf-8")


def made_by() -> str:
    """The command as it was given, and the machine that it ran on."""
    from jobs.measure.benchmark.machine import cpu_name  # imports torch, which nothing else here needs

    module = sys.modules["__main__"].__spec__
    command = shlex.join(["python", "-m", module.name if module else sys.argv[0], *sys.argv[1:]])
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"By `{command}` on {available_cores()} cores of {cpu_name()}, {gib:.0f} GiB."


def table_rows(table: Table) -> list[tuple[str, ...]]:
    """A table of the terminal, its header first."""
    columns = [[str(column.header), *map(str, column.cells)] for column in table.columns]
    return list(zip(*columns, strict=True))


def markdown_table(cells: Sequence[tuple[str, ...]]) -> str:
    """A table whose first column is to the left, the others to the right."""
    head, *body = cells
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---", *["---:"] * (len(head) - 1)), *body))
