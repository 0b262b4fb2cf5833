"""What `rookery export` says, on stderr: stdout may be the export itself."""

from rich.console import Console

from jobs.terminal.console import byte_count, file_count, printable
from pipeline.exporting.exported import Exported

stderr_console = Console(stderr=True, highlight=False)


def print_exported(target: str, since: int | None, exported: Exported) -> None:
    """Prints what was exported, where it is, and how many texts are missing."""
    rows, size = (sum(getattr(file, name) for file in exported.files) for name in ("rows", "bytes"))
    what = f"snapshot {exported.manifest.snapshot}" + (f", what differs from snapshot {since}" if since else "")
    files = "" if len(exported.files) == 1 else f" in {file_count(len(exported.files))}"
    where = "" if target == "-" else f" → {printable(target)}"
    stderr_console.print(f"{what}: {rows:,} rows, {byte_count(size)}{files}{where}", soft_wrap=True, markup=False)
    if exported.texts_missing:
        print_texts_missing(exported.texts_missing, "their text is null")


def print_texts_missing(count: int, consequence: str) -> None:
    """Says how many texts the corpus doesn't have any more as they were scored, and what becomes of their rows."""
    stderr_console.print(
        f"{count:,} texts are gone from the corpus, or are others by now than those that were scored: {consequence}",
        style="yellow",
        soft_wrap=True,
    )
