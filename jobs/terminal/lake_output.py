"""What is shown of lake tables."""

from rich.status import Status

from jobs.terminal.console import console, file_count, printable
from jobs.terminal.run_log import run_console
from pipeline.lakes.lake_commit import Committed


def lake_status(name: str) -> Status:
    """Makes something to look at while a lake table is committed to; it shows nothing where no terminal is."""
    return run_console.status(f"committing to {printable(name)} …")


def print_committed(committed: Committed) -> None:
    """Prints what a commit to a lake table has changed."""
    run_console.print("[bold green]Committed[/] ", end="")
    run_console.print(
        f"snapshot {committed.snapshot} to {printable(committed.lake)}: {committed.rows:,} rows, "
        f"{file_count(committed.added)} added, {committed.removed:,} removed",
        soft_wrap=True,
        markup=False,
    )


def print_lake_history() -> None:
    """Prints what an erasure leaves in lake tables, and what removes it."""
    console.print(
        "Lake tables: their newest version is without these documents, older ones still have them until they are gone: "
        "expire Iceberg's snapshots (`CALL system.expire_snapshots` in Spark, or the like), run Delta's `VACUUM`.",
        soft_wrap=True,
    )
