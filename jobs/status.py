"""`rookery status`: the runs of a table, read from the table: of one that lives, how far it is."""

from typing import Annotated, Literal

import typer

from jobs.terminal.status_output import print_runs
from pipeline.errors import ConfigError
from pipeline.runs.run_record import RunRecords
from pipeline.runs.run_status import newest_runs
from pipeline.storage.objects import Storage

RUNS_SHOWN = 5


def status(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
    runs: Annotated[int, typer.Option("--runs", min=1, help="How many runs, the newest first.")] = RUNS_SHOWN,
    format_: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Text for people, or an object of JSON in each line.")
    ] = "text",
) -> None:
    """Tell of a table's newest runs how far they are or what came of them, from any machine that reads the table."""
    newest = newest_runs(RunRecords(Storage(), table), runs)
    if not newest:
        raise ConfigError(
            f"{table}: no run has left a record there; expected the folder that table.uri of a job names, where "
            "`rookery label` has run"
        )
    if format_ == "json":
        for one in newest:
            print(one.line())
    else:
        print_runs(table, newest)
