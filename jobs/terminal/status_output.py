"""What `rookery status` shows."""

from collections.abc import Sequence

from rich.text import Text

from jobs.terminal.console import console, error_count, printable
from jobs.terminal.label_progress import duration, progress_line, short
from pipeline.runs.progress import Figures
from pipeline.runs.run_record import RunOutcome, RunRecord
from pipeline.runs.run_status import Life, RunStatus

_STYLES: dict[RunOutcome | Life, str] = {
    "published": "green",
    "unchanged": "green",
    "planned": "green",
    "lives": "cyan",
    "held_back": "yellow",
    "budget_spent": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "died": "red",
}
_WORDS: dict[RunOutcome | Life, str] = {
    "published": "published",
    "unchanged": "nothing to do",
    "planned": "dry run",
    "lives": "running",
    "held_back": "held back by a gate",
    "budget_spent": "budget spent",
    "interrupted": "stopped by a signal",
    "failed": "failed",
    "died": "no sign of life",
}


def print_runs(table_uri: str, runs: Sequence[RunStatus]) -> None:
    """Prints each run, newest first: when, what came of it or how far it is, what it cost."""
    console.print(Text(printable(table_uri), "bold"), soft_wrap=True)
    for run in runs:
        record = run.record
        kind = record.outcome or run.life
        began = f"{record.started_at:%Y-%m-%d %H:%M} UTC"
        console.print(
            Text.assemble("\n", (began, "bold"), "  ", (_WORDS[kind], _STYLES[kind]), f"  {printable(record.run_id)}"),
            soft_wrap=True,
        )
        for name, line in _lines(run):
            console.print(Text.assemble((f"  {name:<10}", "bold"), printable(line)), soft_wrap=True)


def _lines(run: RunStatus) -> list[tuple[str, str]]:
    record = run.record
    lines = [("snapshot", _snapshot(record)), ("why", record.message or "")]
    if run.life == "died":
        heard = f"nothing was heard for {duration(run.silent_seconds)}, amid {record.state}"
        lines.append(("", f"{heard}: it died, or can't reach the store; its units are kept, run again to go on"))
    if record.progress:
        figures = Figures(**record.progress)
        lines.append(("progress" if record.outcome is None else "work", progress_line(figures)))
    if record.outcome is None and run.life == "lives":
        lines.append(("now", f"{record.state} on {record.host}, heard {duration(run.silent_seconds)} ago"))
    elif record.seconds is not None:
        lines.append(("time", duration(record.seconds)))
    if record.usd_per_billion_tokens is not None:
        lines.append(("price", f"${record.usd_per_billion_tokens:,.2f} per billion tokens"))
    if record.report:
        lines.append(("report", record.report))
    if record.tags:
        lines.append(("tags", ", ".join(f"{name} {value}" for name, value in record.tags.items())))
    return [(name, line) for name, line in lines if line]


def _snapshot(record: RunRecord) -> str:
    if record.snapshot is None:
        return ""
    partial = " (partial)" if record.partial else ""
    return (
        f"{record.snapshot}{partial}: {short(record.documents or 0)} documents, "
        f"{short(record.predictions or 0)} predictions, {error_count(record.errors or 0)}"
    )
