"""The console that every command prints on, and how counts and names are spelled there."""

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)


def printable(text: str) -> str:
    """Escapes what would command a terminal: ids and names of files are the corpus's."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def new_grid() -> Table:
    """Makes a table of two columns, names and values, without lines."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def file_count(count: int) -> str:
    """Writes a number of files: `1 file`, `1,200 files`."""
    return f"{count:,} file{'' if count == 1 else 's'}"


def outcome_count(predictions: int, errors: int) -> str:
    """Writes what became of documents: `99 predictions, 1 error`."""
    return f"{predictions:,} prediction{'' if predictions == 1 else 's'}, {error_count(errors)}"


def error_count(count: int) -> str:
    """Writes a number of errors: `1 error`, `1,200 errors`."""
    return f"{count:,} error{'' if count == 1 else 's'}"


def byte_count(count: float) -> str:
    """Writes a number of bytes in the unit that suits it, of 1,000 each: `999 bytes`, `2.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
