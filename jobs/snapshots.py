"""`rookery snapshots`: the published versions of a table."""

from typing import Annotated

import typer

from jobs.terminal.snapshots_output import print_snapshots
from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots


def snapshots(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
) -> None:
    """List a table's snapshots: when each was published, by which checkpoint, what it holds and what changed."""
    published = Snapshots(Storage(), table)
    manifests = [published.read(number) for number in published.published()]
    if not manifests:
        raise ConfigError(f"{table}: has no snapshot; expected the folder that table.uri of a job names")
    print_snapshots(table, manifests)
