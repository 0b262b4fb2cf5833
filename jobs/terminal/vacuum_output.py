"""What `rookery vacuum` shows."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

import pyarrow.compute as pc
from rich import box
from rich.table import Column, Table

from jobs.terminal.console import byte_count, console, printable
from pipeline.storage.listings import StoredFile
from pipeline.tables.reachability import DAY_SECONDS
from pipeline.tables.unreachable import Amount
from pipeline.tables.vacuum import Deleted, Review, amounts_by_kind


@contextlib.contextmanager
def vacuum_status() -> Iterator[Callable[[str], None]]:
    """Shows that a table is listed; gives what is called with how far the deleting is."""
    with console.status("listing the table …") as status:
        yield status.update


def print_review(table_uri: str, found: Review, *, is_dry: bool) -> None:
    """Prints what is kept and why, what nothing needs, what isn't known, and, of a dry run, what to do next."""
    console.print(f"[bold]{printable(table_uri)}[/]", soft_wrap=True)
    console.print(f"Kept snapshots: {_numbers(found.needs.snapshots)}", soft_wrap=True)
    kept = sorted(found.findings.kept.items())
    _print_table("kept", ((f"{kind}", reason, amount) for (kind, reason), amount in kept), "needed by")
    if len(found.marked):
        waiting = amounts_by_kind(found.marked), amounts_by_kind(found.due)
        _print_table(
            "unreachable",
            ((kind, _due_note(amount, waiting[1].get(kind, Amount())), amount) for kind, amount in waiting[0].items()),
            "may be deleted",
        )
    else:
        console.print("Nothing is unreachable.")
    _print_unknown(found)
    if is_dry and len(found.marked):
        console.print(f"[bold]Dry run[/]: nothing was written or deleted. {_next_step(found)}", soft_wrap=True)


def print_deleted(found: Review, deleted: Deleted) -> None:
    """Prints what a vacuum has deleted, and when the next one will delete more."""
    total, due = _sum(deleted.amounts.values()), len(found.due)
    if total.objects:
        console.print(f"[bold green]Deleted[/] {_objects(total)}.", soft_wrap=True)
    else:
        console.print("[bold]Deleted[/] nothing.")
    if total.objects < due:
        console.print(f"{due - total.objects:,} more were needed again, or gone, by the time that it was their turn.")
    if deleted.snapshots:
        console.print(f"Vacuumed snapshots: {_numbers(deleted.snapshots)}. Their manifests stay.", soft_wrap=True)
    waiting = len(found.marked) - len(found.due)
    if waiting:
        console.print(
            f"Listed in _vacuum/unreachable.parquet: {waiting:,} object{'' if waiting == 1 else 's'}. The same command "
            f"deletes them from {_first_due(found)} on, if nothing needs them then.",
            soft_wrap=True,
        )


def print_orphans(orphans: Sequence[StoredFile], *, is_dry: bool) -> None:
    """Prints what commits to lake tables have left there, that died or were overtaken."""
    if orphans:
        total = Amount(len(orphans), sum(file.size for file in orphans))
        done = "With --delete this command deletes them." if is_dry else "They were deleted."
        console.print(
            f"[bold]Lake tables[/]: {_objects(total)} that no version of theirs names. {done}", soft_wrap=True
        )


def _next_step(found: Review) -> str:
    grace = found.needs.retention.grace_days
    due = _sum(amounts_by_kind(found.due).values())
    with_delete = "With --delete this command"
    if due.objects == len(found.marked):
        return f"{with_delete} deletes {_objects(due)}."
    if due.objects:
        return (
            f"{with_delete} deletes {_objects(due)}, and the rest when it is run again {grace} days after its listing."
        )
    return f"{with_delete} lists these, and deletes them when it is run again, {grace} days after the listing or later."


def _first_due(found: Review) -> str:
    due = found.due
    rest = found.marked.filter(pc.invert(pc.is_in(found.marked["path"], value_set=due["path"].combine_chunks())))
    first = (
        pc.min(pc.max_element_wise(rest["since"], rest["modified"])).as_py()
        + found.needs.retention.grace_days * DAY_SECONDS
    )
    return f"{datetime.fromtimestamp(first, UTC):%Y-%m-%d %H:%M} UTC"


def _due_note(amount: Amount, due: Amount) -> str:
    if not due.objects:
        return "not yet"
    return "now" if due == amount else f"{due.objects:,} now"


def _print_unknown(found: Review) -> None:
    unknown = found.findings.unknown
    if not unknown.objects:
        return
    names = ", ".join(map(printable, found.findings.unknown_paths))
    more = ", …" if unknown.objects > len(found.findings.unknown_paths) else ""
    console.print(
        f"[bold yellow]Unknown[/] {_objects(unknown)}: {names}{more}. No Rookery of this version writes such a name: "
        "they are left alone.",
        soft_wrap=True,
    )


def _print_table(title: str, rows: Iterable[tuple[str, str, Amount]], note: str) -> None:
    lines = Table(
        Column(title, no_wrap=True),
        Column("objects", justify="right"),
        Column("size", justify="right", no_wrap=True),
        Column(note),
        box=box.SIMPLE,
    )
    for kind, reason, amount in rows:
        lines.add_row(kind, f"{amount.objects:,}", byte_count(amount.bytes), reason)
    console.print(lines)


def _sum(amounts: Iterable[Amount]) -> Amount:
    total = Amount()
    for amount in amounts:
        total = total.plus(*amount)
    return total


def _objects(amount: Amount) -> str:
    return f"{amount.objects:,} object{'' if amount.objects == 1 else 's'}, {byte_count(amount.bytes)}"


def _numbers(numbers: Iterable[int]) -> str:
    """Writes numbers of snapshots, those that follow each other as a range: `1, 4–9`."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    return ", ".join("–".join(map(str, ends)) for ends in ranges)
