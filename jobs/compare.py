"""`rookery compare`: two snapshots, document by document."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs.terminal.compare_output import print_comparison
from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage
from pipeline.tables.candidates import CandidateSnapshots
from pipeline.tables.comparison import compare_snapshots
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tables.verdicts import verdict_line, verdicts_of

NUMBERED = re.compile(r"(.+)@(candidate-)?(\d+)")
ROWS_LISTED = 1_000
A_SNAPSHOT = "A table's folder, whose newest snapshot is meant, FOLDER@NUMBER, or FOLDER@candidate-NUMBER."


def compare(
    before: Annotated[str, typer.Argument(help=A_SNAPSHOT)],
    after: Annotated[str, typer.Argument(help=A_SNAPSHOT)],
    json_path: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file too.")] = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help=f"List the first {ROWS_LISTED:,} documents that have another label, too.")
    ] = False,
) -> None:
    """Compare the labels of two snapshots: agreement, flips with examples, labels' shares, scores."""
    newer = _opened(after)
    comparison = compare_snapshots(_opened(before), newer, rows=ROWS_LISTED if rows else 0)
    print_comparison(comparison)
    if html_path:
        from jobs.comparison_report import comparison_page  # scikit-learn and Jinja take a second

        held_back = [verdict_line(verdict) for verdict in verdicts_of(newer[1].run) if verdict.is_broken]
        notes = [f"Held back by a gate: {line}." for line in held_back]
        html_path.write_text(comparison_page(comparison, notes), encoding="utf-8")
    if json_path:
        figures = asdict(comparison) | {"coverage": comparison.coverage}
        json_path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _opened(named: str) -> tuple[Snapshots, Manifest]:
    match = NUMBERED.fullmatch(named)
    uri, number = (match[1], int(match[3])) if match else (named, None)
    snapshots = Snapshots(Storage(), uri)
    if match and match[2]:
        return snapshots, _whole_candidate(snapshots, int(match[3]))
    return snapshots, snapshots.get(number)


def _whole_candidate(snapshots: Snapshots, number: int) -> Manifest:
    candidate = CandidateSnapshots(snapshots).read(number)
    if problem := snapshots.damage(candidate):
        raise ConfigError(
            f"{problem}: candidate {number} can't be compared; a vacuum deletes files of candidates that can't be "
            "published any more"
        )
    return candidate
