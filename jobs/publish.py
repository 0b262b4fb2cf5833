"""`rookery publish`: lets a candidate that a gate held back through."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated

import typer

from jobs.lake_commits import commit_registered
from jobs.terminal.snapshots_output import print_published_candidate
from pipeline.storage.objects import Storage
from pipeline.tables.candidates import CandidateSnapshots
from pipeline.tables.snapshots import Snapshots


def publish_candidate(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
    candidate: Annotated[int, typer.Argument(min=1, help="The candidate's number, as `rookery snapshots` lists it.")],
) -> None:
    """Publish exactly the candidate that a gate held back, if the snapshot it was judged against is still current."""
    candidates = CandidateSnapshots(Snapshots(Storage(), table))
    if candidates.finish(candidate):
        print_published_candidate(table, candidates.snapshots.read(candidate), again=True)
        commit_registered(candidates.snapshots)
        return
    now = datetime.now(UTC)
    run = {
        "published_at": now.isoformat(timespec="microseconds"),
        "let_through": {"by": "rookery publish", "rookery": version("rookery")},
    }
    print_published_candidate(table, candidates.publish(candidates.read(candidate), run), again=False)
    commit_registered(candidates.snapshots)
