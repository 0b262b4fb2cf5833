"""What `rookery snapshots`, `rookery publish` and `rookery rollback` show."""

from datetime import datetime

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from jobs.terminal.console import byte_count, console, printable
from jobs.terminal.descriptions import changed_documents
from pipeline.tables.rollback import ROLLBACK
from pipeline.tables.snapshots import Manifest
from pipeline.tables.verdicts import verdict_line, verdicts_of

LIST_WIDTH = 140  # of the list of snapshots, at least


def print_snapshots(table_uri: str, manifests: list[Manifest], vacuumed: list[int]) -> None:
    """Prints a line for each snapshot, oldest first; `newest` is what readers see, `vacuumed` ones have no files."""
    newest = max((manifest.snapshot for manifest in manifests if not manifest.partial), default=None)
    lines = Table(
        Column("snapshot", justify="right"),
        Column("published (UTC)", no_wrap=True),
        Column("checkpoint", no_wrap=True),
        Column("predictions", justify="right"),
        Column("errors", justify="right"),
        Column("documents", no_wrap=True),
        Column("files", justify="right"),
        Column("size", justify="right"),
        "",
        box=box.SIMPLE,
    )
    for manifest in manifests:
        lines.add_row(
            str(manifest.snapshot),
            published_at(manifest),
            printable(checkpoint_name(manifest)),
            f"{manifest.counts['predictions']:,}",
            f"{manifest.counts['errors']:,}",
            _changes(manifest),
            _files(manifest),
            byte_count(sum(file.bytes for file in manifest.files)),
            _state(manifest, newest, manifest.snapshot in vacuumed),
        )
    console.print(Text(printable(table_uri), "bold"), soft_wrap=True)
    console.print("documents and files: + added, ~ changed, − removed since the snapshot before", soft_wrap=True)
    # in a narrow terminal a line goes on in the next row, rather than lose half of its columns
    Console(highlight=False, soft_wrap=True, width=max(LIST_WIDTH, console.width)).print(lines)


def print_candidates(candidates: list[Manifest], newest: int | None) -> None:
    """Prints, below the snapshots, what gates held back; `newest` is what readers see."""
    if not candidates:
        return
    console.print("[bold]Held back by gates[/], unpublished:")
    for manifest in candidates:
        predictions = f"{manifest.counts['predictions']:,} predictions"
        is_open = manifest.parent == newest
        state = "" if is_open else ", judged against what is no longer current: it can't be published"
        console.print(
            f"  candidate {manifest.snapshot}: {published_at(manifest)}, {printable(checkpoint_name(manifest))}, "
            f"{predictions}{state}",
            soft_wrap=True,
        )
        for verdict in verdicts_of(manifest.run):
            if verdict.is_broken:
                console.print(Text(f"    {printable(verdict_line(verdict))}"), soft_wrap=True)


def print_published_candidate(table_uri: str, manifest: Manifest, *, again: bool) -> None:
    """Prints that a candidate is visible now, or was `again`."""
    if again:
        console.print(f"Nothing to do: snapshot {manifest.snapshot} is published.")
        return
    console.print(f"[bold green]Published[/] {printable(table_uri)}", soft_wrap=True)
    console.print(
        f"Snapshot {manifest.snapshot}, which gates held back: {manifest.counts['predictions']:,} predictions, "
        f"{manifest.counts['errors']:,} errors. The next `rookery label` compares with it.",
        soft_wrap=True,
    )


def print_rollback(table_uri: str, number: int, before: Manifest | None, manifest: Manifest) -> None:
    """Prints what a rollback has done. `before` was the newest snapshot."""
    if before and before.snapshot == manifest.snapshot:
        console.print(f"Nothing to do: snapshot {manifest.snapshot}, the newest, holds what snapshot {number} does.")
        return
    undone = [str(snapshot["snapshot"]) for snapshot in manifest.run[ROLLBACK]["undone"]]
    console.print(f"[bold green]Published[/] {printable(table_uri)}", soft_wrap=True)
    console.print(
        f"Snapshot {manifest.snapshot} is snapshot {number} again: {manifest.counts['predictions']:,} predictions, "
        f"{manifest.counts['errors']:,} errors. Nothing was deleted: snapshot{'' if len(undone) == 1 else 's'} "
        f"{', '.join(undone)} can still be read, and rolled back to.",
        soft_wrap=True,
    )
    if manifest.changes:
        console.print(f"Documents: {changed_documents(manifest)}.", soft_wrap=True)
    console.print(
        "`rookery label` publishes none of that again (exit code 6) as long as this snapshot is the newest, unless its "
        "job says `table.undo_rollback: true`.",
        soft_wrap=True,
    )


def published_at(manifest: Manifest) -> str:
    """Writes when a snapshot was published, in UTC to the minute; nothing where its manifest does not tell."""
    when = manifest.run.get("published_at")
    return f"{datetime.fromisoformat(when):%Y-%m-%d %H:%M}" if when else ""


def checkpoint_name(manifest: Manifest) -> str:
    """Writes the name of a snapshot's checkpoint and the first letters of its weights' digest."""
    uri, digest = manifest.checkpoint.get("uri", ""), manifest.checkpoint.get("weights_digest", "")
    return f"{uri.rstrip('/').rpartition('/')[2]} {digest[:8]}".strip()


def _changes(manifest: Manifest) -> str:
    """Documents added, changed and removed, as signs; nothing where none was, or it is not known."""
    if manifest.changes is None:
        return ""
    counts = {"+": manifest.changes.added, "~": manifest.changes.changed, "−": manifest.changes.removed}
    return " ".join(f"{sign}{count:,}" for sign, count in counts.items() if count)


def _files(manifest: Manifest) -> str:
    added = sum(file.state == "added" for file in manifest.files)
    changes = [f"+{added:,}" if added else "", f"−{len(manifest.removed):,}" if manifest.removed else ""]
    return " ".join([f"{len(manifest.files):,}", *filter(None, changes)])


def _state(manifest: Manifest, newest: int | None, is_vacuumed: bool) -> str:
    rollback = manifest.run.get(ROLLBACK)
    tables = manifest.run.get("corpus_tables", [])
    notes = [
        "newest" if manifest.snapshot == newest else "",
        "partial" if manifest.partial else "",
        f"{rollback['to']} again" if rollback else "",
        *(printable(f"of {table['system']} {table['version']}") for table in tables),
        "vacuumed" if is_vacuumed else "",
    ]
    return ", ".join(filter(None, notes))
