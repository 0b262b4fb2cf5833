"""`rookery sql`: the statements that load a table into a warehouse."""

import os
import sys
from typing import Annotated

import typer

from pipeline.errors import ConfigError, RetryableError
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots
from pipeline.warehouses.loads import plan_load
from pipeline.warehouses.script import EngineName, script


def sql(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
    engine: Annotated[EngineName, typer.Option("--engine", help="What is to run the statements.")],
    since: Annotated[
        int | None, typer.Option("--since", min=1, help="Only what has changed since this snapshot, which is loaded.")
    ] = None,
) -> None:
    """Print the statements that load the newest snapshot into a warehouse and check that all of it has arrived."""
    if since is not None and engine in ("duckdb-view", "dbt"):
        raise ConfigError(f"--since {since}: {engine} describes the table, and loads nothing; leave --since out")
    load = plan_load(Snapshots(Storage(), table), since)
    try:
        for piece in script(load, engine):
            sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush
        raise RetryableError(
            f"{table}: whoever reads the statements ended before the last one, and says why; then run again"
        ) from error
