"""`rookery rollback`: an older snapshot of a table, published once more as the newest."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated

import typer

from jobs.lake_commits import commit_registered
from jobs.terminal.snapshots_output import print_rollback
from pipeline.storage.objects import Storage
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Snapshots


def rollback(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
    snapshot: Annotated[int, typer.Argument(min=1, help="The number of the snapshot to publish again.")],
) -> None:
    """Publish an older snapshot again as the newest. Nothing is deleted; what it undoes is held back from then on."""
    snapshots = Snapshots(Storage(), table)
    before = snapshots.latest()
    now = datetime.now(UTC)
    run = {
        "run_id": f"{now:%Y%m%dT%H%M%SZ}-rollback",
        "published_at": now.isoformat(timespec="microseconds"),
        "rookery": version("rookery"),
    }
    print_rollback(table, snapshot, before, roll_back(snapshots, snapshot, run))
    commit_registered(snapshots)
