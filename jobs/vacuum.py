"""`rookery vacuum`: what nothing in a table needs any more, listed and deleted."""

from typing import Annotated

import typer

from jobs.terminal.vacuum_output import print_deleted, print_orphans, print_review, vacuum_status
from pipeline.lakes.lake_vacuum import delete_orphans, review_lakes
from pipeline.storage.objects import Storage
from pipeline.tables.reachability import Retention
from pipeline.tables.snapshots import Snapshots
from pipeline.tables.vacuum import review, vacuum

KEPT_BY_DEFAULT = Retention()


def vacuum_table(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
    delete: Annotated[
        bool,
        typer.Option(
            "--delete",
            help="List what nothing needs, and delete what was listed --grace-days ago. Without it: look, and write "
            "nothing.",
        ),
    ] = False,
    keep_snapshots: Annotated[
        int, typer.Option(min=1, help="Keep this many of the newest complete snapshots.")
    ] = KEPT_BY_DEFAULT.snapshots,
    keep_days: Annotated[
        int,
        typer.Option(
            min=0, help="Keep what was published in the last so many days too, and fragments and tallies of these."
        ),
    ] = KEPT_BY_DEFAULT.days,
    grace_days: Annotated[
        int,
        typer.Option(
            min=1, help="Days from listing to deleting: more than the longest run takes, and the longest reader."
        ),
    ] = KEPT_BY_DEFAULT.grace_days,
) -> None:
    """Delete what no kept snapshot, candidate or run needs, days after it was listed. Without --delete: only look."""
    snapshots = Snapshots(Storage(), table)
    retention = Retention(keep_snapshots, keep_days, grace_days)
    with vacuum_status() as tell:
        lakes = review_lakes(snapshots)
        if not delete:
            found, deleted = review(snapshots, retention, lakes.named_here), None
        else:
            found, deleted = vacuum(snapshots, retention, tell, lakes.named_here)
        orphans = lakes.orphans(found.needs)
        if delete:
            delete_orphans(snapshots, orphans)
    print_review(table, found, is_dry=deleted is None)
    if deleted is not None:
        print_deleted(found, deleted)
    print_orphans(orphans, is_dry=deleted is None)
