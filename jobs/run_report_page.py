"""The page of a run, `_runs/<run id>/report.html`: what came of it at the top, then what was found and what it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from jobs.terminal.console import error_count, outcome_count
from jobs.terminal.label_progress import duration, short
from pipeline.evaluation.html_page import Tile, render_page
from pipeline.runs.progress import Figures
from pipeline.runs.run_findings import Expectation, RunFindings
from pipeline.runs.run_history import SlowUnit, work_seconds
from pipeline.runs.run_record import RunOutcome, RunRecord
from pipeline.tables.verdicts import verdict_line

LABELS_SHOWN = 40
SCORES_SHOWN = 12  # labels
MILLION = 1_000_000  # from which a tile gives three digits
_OUTCOMES: dict[RunOutcome, tuple[str, str, str]] = {  # sign, words, and the style sheet's class
    "published": ("✓", "Published", "good"),
    "held_back": ("‖", "Held back", "paused"),
    "budget_spent": ("‖", "Budget spent", "paused"),
    "failed": ("✕", "Failed", "bad"),
    "interrupted": ("✕", "Interrupted", "bad"),
}
_STAGES = {  # what each is the time of
    "read": "reading files from the store",
    "text": "tokens, windows and packs",
    "encode": "the model, on the actors",
    "write": "writing fragments",
    "wait": "actors without packs to compute",
}
_EXPECTED = {
    "actor_hours": "actor-hours",
    "usd": "dollars",
    "seconds": "labelling",
}


@dataclass(frozen=True, slots=True)
class StageShare:
    """A stage's part of the time of all processes."""

    name: str
    words: str
    seconds: float
    share: float


def run_report_page(findings: RunFindings, facts: Mapping[str, str]) -> str:
    """Writes the page as HTML. `facts`: what is known beside, for the page's end."""
    record, labels, scores = findings.record, findings.labels, findings.scores
    assert record.outcome is not None  # it has ended
    sign, words, kind = _OUTCOMES[record.outcome]
    return render_page(
        files("jobs").joinpath("run_report.html").read_text(encoding="utf-8"),
        findings=findings,
        record=record,
        sign=sign,
        words=words,
        kind=kind,
        name=record.table.rstrip("/").rpartition("/")[2],
        tiles=run_tiles(findings),
        labels=labels[:LABELS_SHOWN],
        labels_left_out=labels[LABELS_SHOWN:],
        most_documents=max((share.documents for share in labels), default=0),
        scores=scores[: SCORES_SHOWN + 1],
        verdict_lines=[(verdict, verdict_line(verdict)) for verdict in findings.verdicts],
        stages=_stages(findings),
        slowest=[(unit, part_words(unit), work_seconds(unit.done), _longest_stage(unit)) for unit in findings.slowest],
        expectations=[(_EXPECTED.get(each.name, each.name), each) for each in findings.expectations],
        facts=_facts(record) | dict(facts),
        duration=duration,
        short=short,
        amount=_amount,
    )


def run_tiles(findings: RunFindings) -> list[Tile]:
    """Gives the headline figures: of the snapshot, then of what the run did for it."""
    record, tiles = findings.record, []
    if record.documents is not None:
        outcome = outcome_count(record.predictions or 0, record.errors or 0)
        tiles.append(Tile("Documents", _headline(record.documents), below=outcome))
    if figures := _figures(record):
        over = f", {figures.taken_over:,} taken over" if figures.taken_over else ""
        new = f"{error_count(figures.errors)}{over}; {figures.units:,} unit{'' if figures.units == 1 else 's'}"
        tiles.append(Tile("Of this run", _headline(figures.documents), below=new))
    if figures and figures.tokens:
        padding = f"{figures.windows:,} windows, {figures.padding_share:.1%} padding"
        tiles.append(Tile("Tokens computed", short(figures.tokens), below=padding))
        actors = f"{figures.actors:,} actor{'' if figures.actors == 1 else 's'}"
        tiles.append(Tile("Tokens a second", short(figures.tokens_per_second), below=f"on {actors}"))
    if record.seconds is not None:
        labelling = f"{duration(figures.seconds)} of it labelling" if figures else "nothing was computed"
        tiles.append(Tile("Time", duration(record.seconds), below=labelling))
    if record.usd is not None:
        price = record.usd_per_billion_tokens
        each = f"${price:,.2f} a billion tokens" if price else f"{record.actor_hours or 0:,.2f} actor-hours"
        tiles.append(Tile("Cost", f"${record.usd:,.2f}", below=each))
    elif record.actor_hours:
        tiles.append(Tile("Actor-hours", f"{record.actor_hours:,.2f}", below="the job has no price"))
    return tiles


def part_words(unit: SlowUnit) -> str:
    """Says which part of its file a unit is: `rows 100 to 199 of row group 3`."""
    match unit.part:
        case ("row_groups", int(first), int(stop), _):
            return f"row group {first}" if stop == first + 1 else f"row groups {first} to {stop - 1}"
        case ("rows", int(group), int(start), int(stop), _):
            return f"rows {start:,} to {stop - 1:,} of row group {group}"
        case ("bytes", int(start), int(stop)):
            return f"bytes {start:,} to {stop:,}"
        case ("part", int(number), _):
            return f"part {number}"
    return ""


def _headline(count: int) -> str:
    return f"{count:,}" if count < MILLION else short(count)


def _figures(record: RunRecord) -> Figures | None:
    return Figures(**record.progress) if record.progress else None


def _stages(findings: RunFindings) -> Sequence[StageShare]:
    total = sum(seconds for _, seconds in findings.stages)
    return [StageShare(name, _STAGES[name], seconds, seconds / total) for name, seconds in findings.stages]


def _longest_stage(unit: SlowUnit) -> str:
    done = unit.done
    seconds = {"read": done.read_s, "text": done.text_s, "encode": done.encode_s, "write": done.write_s}
    name = max(seconds, key=lambda stage: seconds[stage])
    return f"{seconds[name] / work_seconds(done):.0%} {name}"


def _amount(expectation: Expectation, value: float | None) -> str:
    if value is None:
        return "–"
    match expectation.name:
        case "usd":
            return f"${value:,.2f}"
        case "seconds":
            return duration(value)
        case "actor_hours":
            return f"{value:,.3g}"
    return f"{value:,.0f}"


def _facts(record: RunRecord) -> dict[str, str]:
    devices = record.devices or {}
    facts = {
        "run": record.run_id,
        "table": record.table,
        "began": f"{record.started_at:%Y-%m-%d %H:%M:%S} UTC",
        "ended": f"{record.ended_at:%Y-%m-%d %H:%M:%S} UTC" if record.ended_at else "",
        "driver": record.host or "",
        "computed on": ", ".join(f"{device} ({units:,} units)" for device, units in devices.items()),
        "Rookery": record.rookery or "",
        "checkpoint": record.checkpoint or "",
        "scoring key": record.scoring_key or "",
        "decision key": record.decision_key or "",
        "price": "" if record.price is None else f"${record.price:,.4g} an actor-hour",
        "budget": ", ".join(f"{name} {value:,.15g}" for name, value in (record.budget or {}).items()),
        "tags": ", ".join(f"{name}: {value}" for name, value in record.tags.items()),
        "exit code": str(record.exit_code),
    }
    return {name: value for name, value in facts.items() if value}
