"""What `rookery errors` shows: counts by reason, then the documents."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import pyarrow as pa
from rich import box
from rich.table import Column, Table
from rich.text import Text

from jobs.terminal.console import console, printable
from pipeline.planning.plan import Plan
from pipeline.tables.snapshots import Failure, Manifest

FAILURES_SHOWN = 20


def print_failure_counts(
    plan: Plan,
    published: Manifest | None,
    counts: list[Failure],
    filters: list[tuple[str, str | None]],
) -> None:
    """Prints how many documents could not be labelled, for each reason."""
    console.print(f"{plan.job.table.uri}: {_whose(plan, published)}", soft_wrap=True, markup=False)
    if plan.missing:
        console.print(
            f"{len(plan.missing):,} of {len(plan.units):,} units are not labelled yet: `rookery label` would "
            f"label them",
            soft_wrap=True,
        )
    conditions = " and ".join(f"--{name} {value!r}" for name, value in filters if value is not None)
    if not counts:
        console.print(Text(f"No errors{f' with {conditions}' if conditions else ''}.", "green"))
        return
    table = Table("reason", "stage", Column("documents", justify="right"), box=box.SIMPLE)
    for failure in counts:
        table.add_row(failure.reason, failure.stage, f"{failure.documents:,}")
    table.add_section()
    table.add_row("all", "", f"{sum(failure.documents for failure in counts):,}")
    console.print(table)


def print_failed_documents(failures: Iterable[pa.Table], total: int, *, every: bool) -> None:
    """Prints the first documents of `total` that could not be labelled, or every one, two lines each."""
    shown = total if every else min(total, FAILURES_SHOWN)
    hint = "" if shown == total else " (--all lists every one)"
    console.print(f"The first {shown:,} of {total:,}{hint}:" if hint else f"All {total:,}:")
    documents = (row for rows in failures for row in rows.to_pylist())
    for document in islice(documents, shown):
        console.print(_failure(document), soft_wrap=True)


def _whose(plan: Plan, published: Manifest | None) -> str:
    if published:
        partial = " (partial)" if published.partial else ""
        return f"errors of snapshot {published.snapshot}{partial}, {published.counts['documents']:,} documents"
    finished = len(plan.units) - len(plan.missing)
    return f"errors of {finished:,} finished units, which no snapshot holds yet"


def _failure(row: dict[str, Any]) -> Text:
    where = f"{row['source_uri']} at {row['source_position']}"
    return Text.assemble(
        (printable(row["reason"]), "red"),
        f"  id {printable(row['id'] or 'unknown')}\n",
        f"  {printable(where)}: {printable(row['message'])}",
    )
