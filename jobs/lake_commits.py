"""Lake tables follow a table: what every command that changes the newest snapshot does about them at its end."""

import contextlib
from collections.abc import Sequence

from jobs.terminal.lake_output import lake_status, print_committed
from pipeline.config.label import Job
from pipeline.errors import RetryableError, RookeryError
from pipeline.lakes.lake_commit import Lake, check_lake, commit_newest
from pipeline.lakes.lake_records import lakes_of, register, registered
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots


def check_job_lakes(job: Job) -> None:
    """Says before a run what would keep its lake tables from following. Raises ConfigError, AccessError.

    One that gives no answer now may give one at the end.
    """
    storage = Storage(job.storage)
    for lake in lakes_of(job.publish, storage):
        with contextlib.suppress(RetryableError):
            check_lake(lake, Snapshots(storage, job.table.uri))


def commit_job(job: Job) -> None:
    """Brings the lake tables of a job to its table's newest snapshot, and writes them down in the table.

    Raises as `commit_registered`.
    """
    storage = Storage(job.storage)
    snapshots = Snapshots(storage, job.table.uri)
    lakes = lakes_of(job.publish, storage)
    for lake in lakes:
        register(snapshots, lake)
    _commit(snapshots, lakes)


def commit_registered(snapshots: Snapshots) -> bool:
    """Brings all lake tables that a table is committed to to its newest snapshot; says whether there are any.

    Raises:
        ConfigError: a lake table is somebody else's, or can't have these columns.
        AccessError: a catalog or a store refuses.
        ConflictError: others kept committing to one.
        RetryableError: a catalog or a store gives no answer; run again.
    """
    lakes = registered(snapshots)
    _commit(snapshots, lakes)
    return bool(lakes)


def _commit(snapshots: Snapshots, lakes: Sequence[Lake]) -> None:
    for lake in lakes:
        try:
            with lake_status(lake.name):
                committed = commit_newest(lake, snapshots)
        except RookeryError as error:
            raise type(error)(
                f"{error}\nThe newest snapshot of {snapshots.table_uri} is published, and this lake table doesn't have "
                "it yet; the next run commits what is missing"
            ) from error
        if committed:
            print_committed(committed)
