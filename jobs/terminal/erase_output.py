"""What `rookery erase` shows."""

from collections.abc import Collection, Iterable

from rich.status import Status

from jobs.terminal.console import console, printable
from pipeline.tables.erasure import Erased
from pipeline.tables.erasure_search import ErasedPlaces

IDS_SHOWN = 10


def erasing_status(line: str) -> Status:
    """Makes something to look at meanwhile; it shows nothing where no terminal is."""
    return console.status(line)


def print_places(table_uri: str, ids: Collection[str], places: ErasedPlaces) -> None:
    """Prints where documents with these ids are, and that nothing was done."""
    console.print(f"[bold]Would erase[/] {printable(table_uri)}", soft_wrap=True)
    _print_ids(ids, places.ids, ())
    files = sum(len(uris) for uris in places.files.values())
    _print_row("hold them", f"{_count(len(places.fragments), 'fragment')}, {_count(files, 'file')} of snapshots")
    if places.records:
        _print_row("", f"{_count(len(places.records), 'record of a run')}")
    if others := len(places.scratch) + len(places.unnamed):
        _print_row("", f"{_count(others, 'file')} that runs have left")
    console.print("Nothing was changed: run it without --dry-run.")


def print_erased(table_uri: str, ids: Collection[str], erased: Erased) -> None:
    """Prints what was erased, and where the receipt is."""
    run = erased.run
    console.print(f"[bold green]Erased[/] {printable(table_uri)}", soft_wrap=True)
    _print_ids(ids, erased.ids, erased.before)
    _print_row("rewritten", _kinds(run.rewritten))
    _print_row("removed", _kinds(run.removed))
    for key in run.left:
        _print_row(
            "left", f"a folder is called by one of the ids, as a value of {printable(key)!r}: it has other documents"
        )
    _print_row("receipt", f"{printable(table_uri.rstrip('/'))}/_erased/")
    console.print(
        "While the corpus has these documents, `rookery label` leaves them out. What was copied from the table before, "
        "as to a warehouse or a backup, is not erased there.",
        soft_wrap=True,
    )


def _print_ids(ids: Collection[str], found: Collection[str], before: Collection[str]) -> None:
    nowhere = [id_ for id_ in ids if id_ not in found and id_ not in before]
    missing = [f"{len(nowhere):,} nowhere in the table"] if nowhere else []
    earlier = [f"{len(before):,} on the list before"] if before else []
    _print_row("ids", ", ".join([f"{len(ids):,}: {len(found):,} found", *earlier, *missing]))
    for id_ in nowhere[:IDS_SHOWN]:
        _print_row("", f"nowhere: {printable(id_)}")
    if len(nowhere) > IDS_SHOWN:
        _print_row("", f"and {len(nowhere) - IDS_SHOWN:,} more")


def _kinds(paths: Iterable[str]) -> str:
    """Counts objects by what they are."""
    counts: dict[str, int] = {}
    for path in paths:
        kind = _kind(path)
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(_count(count, kind) for kind, count in counts.items()) or "nothing"


def _kind(path: str) -> str:
    first, second, *_ = [*path.split("/"), ""]
    if first == "_units":
        return {"tallies": "tally", "documents": "scratch file", "computed": "scratch file"}.get(second, "fragment")
    kinds = {"_snapshots": "manifest", "_candidates": "manifest", "_index": "index file", "_runs": "record of a run"}
    return kinds.get(first, "file")


def _count(count: int, kind: str) -> str:
    plurals = {"tally": "tallies", "record of a run": "records of runs"}
    return f"{count:,} {kind}" if count == 1 else f"{count:,} {plurals.get(kind, f'{kind}s')}"


def _print_row(name: str, line: str) -> None:
    console.print(f"[bold]{name:<9}[/]  ", end="")
    console.print(line, soft_wrap=True, markup=False)
