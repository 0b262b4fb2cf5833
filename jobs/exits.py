"""How a command ends: every error that users can act on is one message and the exit code of its kind."""

import sys

import typer

from jobs.interruption import Interrupted, interruptible
from jobs.terminal.console import printable
from pipeline.errors import RookeryError
from pipeline.processes import end_children


def run(command: typer.Typer) -> None:
    """Runs a typer app to its end and exits the process where that is an error or a signal.

    The exit codes are those of pipeline.errors, and 128 + N after signal N.
    """
    try:
        with interruptible():
            command()
    except RookeryError as error:
        lines = [printable(line) for line in str(error).splitlines()]
        typer.secho("error: " + "\n".join(lines), fg="red", err=True)
        sys.exit(error.exit_code)
    except Interrupted as interrupted:
        end_children()  # of Ray, whose processes may take longer than this one
        typer.secho("stopped; finished units are kept: run again to go on", fg="yellow", err=True)
        sys.exit(interrupted.exit_code)
