"""`rookery snapshots`: the published versions of a table."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs.terminal.snapshots_output import checkpoint_name, print_candidates, print_snapshots, published_at
from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage
from pipeline.tables.candidates import CandidateSnapshots
from pipeline.tables.snapshots import Manifest, Snapshots

NOT_LISTED = ("files", "removed")  # of a manifest: a record for each file


def snapshots(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw documents, changes, labels and scores into this HTML file.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write every snapshot's manifest, without its files, to this file.")
    ] = None,
) -> None:
    """List a table's snapshots: when each was published, by which checkpoint, what it holds and what changed."""
    published = Snapshots(Storage(), table)
    manifests = [published.read(number) for number in published.published()]
    candidates = CandidateSnapshots(published).all()
    if not (manifests or candidates):
        raise published.nothing_published("snapshot")
    print_snapshots(table, manifests, published.vacuumed())
    latest = published.latest()
    print_candidates(candidates, latest.snapshot if latest else None)
    if plot:
        plot.write_text(_page(table, manifests), encoding="utf-8")
    if json_path:
        listed = [{key: value for key, value in asdict(m).items() if key not in NOT_LISTED} for m in manifests]
        json_path.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _page(table: str, manifests: list[Manifest]) -> str:
    from pipeline.evaluation.history_report import SnapshotFigures, history_report  # jinja2, for those who need it

    complete = [manifest for manifest in manifests if not manifest.partial]
    if not complete:
        raise ConfigError(f"{table}: has no complete snapshot to draw; run the job without --limit")
    figures = [
        SnapshotFigures(
            number=manifest.snapshot,
            published=published_at(manifest),
            checkpoint=checkpoint_name(manifest),
            keys=(manifest.scoring_key, manifest.decision_key),
            predictions=manifest.counts["predictions"],
            errors=manifest.counts["errors"],
            unlabelled=manifest.counts["unlabelled"],
            changes=_changes(manifest),
            is_first=manifest.parent is None,
            labels=manifest.labels,
            scores=manifest.scores,
        )
        for manifest in complete
    ]
    return history_report(table.rstrip("/").rpartition("/")[2] or table, figures, len(manifests) - len(complete))


def _changes(manifest: Manifest) -> tuple[int, int, int] | None:
    changes = manifest.changes
    return (changes.added, changes.changed, changes.removed) if changes else None
