"""What `rookery doctor` shows: a line for each finding, and below those that aren't well what to do."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from jobs.finding import Finding
from jobs.terminal.console import console, printable

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failure": ("✗", "red")}
SUBJECT_WIDTH = 17


def print_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Prints findings as they come, and at the end how many are not well. Gives all of them."""
    listed = []
    for finding in findings:
        console.print(_line(finding))
        listed.append(finding)
    counts = {state: sum(finding.state == state for finding in listed) for state in ("failure", "warning")}
    words = [f"{count} {state}{'s' if count > 1 else ''}" for state, count in counts.items() if count]
    console.print(Text(", ".join(words) or "All is well.", style=MARKS[_worst(listed)][1]))
    return listed


def _line(finding: Finding) -> Table:
    mark, colour = MARKS[finding.state]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(width=SUBJECT_WIDTH)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, colour), Text(printable(finding.subject), "bold"), _shown(finding.seen))
    if finding.state != "ok":
        grid.add_row("", Text("→", justify="right"), _shown(finding.advice))
    return grid


def _shown(text: str) -> Text:
    """With its line breaks: what is wrong with a job file has several lines."""
    return Text("\n".join(map(printable, text.splitlines())))


def _worst(findings: list[Finding]) -> str:
    return max((finding.state for finding in findings), key=list(MARKS).index, default="ok")
