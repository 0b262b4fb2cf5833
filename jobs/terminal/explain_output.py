"""What `rookery label --explain` shows."""

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from jobs.terminal.console import console, printable
from pipeline.planning.explanation import Explanation
from pipeline.planning.plan import Plan

LONGEST = 200  # characters of a value


def print_explanations(plan: Plan, explanations: Iterable[Explanation]) -> None:
    """Prints the keys that a run would have, and of each document its row and what happens next."""
    keys = f"scoring key {plan.scoring.key}, decision key {plan.task.key}"
    console.print(Text(f"{printable(plan.job.table.uri)}: a run would have {keys}"), soft_wrap=True)
    for one in explanations:
        console.print(Text.assemble("\n", (printable(one.id), "bold")), soft_wrap=True)
        for name, value in _lines(one):
            console.print(Text(f"  {name:<11}  {printable(value)}"), soft_wrap=True)


def _lines(one: Explanation) -> Iterable[tuple[str, str]]:
    if row := one.row:
        yield "where", f"{row['source_uri']}, position {row['source_position']:,}"
        if "reason" in row:
            yield "error", f"{row['reason']} ({row['stage']}): {row['message']}"
        else:
            yield "prediction", ", ".join(f"{name} {_short(row[name])}" for name in _decided(row))
            yield "text", f"SHA-256 {row['content_sha256']}, {row['n_tokens']:,} tokens"
        keys = [f"{name} key {row[f'{name}_key']}" for name in ("scoring", "decision") if f"{name}_key" in row]
        yield "keys", ", ".join(keys)
    yield "next", one.outlook


def _decided(row: dict[str, Any]) -> list[str]:
    """The columns that the task made."""
    names = list(row)
    return names[names.index("content_sha256") + 1 : names.index("n_tokens")]


def _short(value: object) -> str:
    text = f"{value}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
