"""How a command ends: every error that users can act on is one message and the exit code of its kind."""

import sys

import typer

from jobs.interruption import Interrupted, interruptible
from jobs.terminal.console import printable
from jobs.terminal.run_log import run_log
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
        _tell(f"error: {error}", "red", error.exit_code)
        sys.exit(error.exit_code)
    except Interrupted as interrupted:
        end_children()  # of Ray, whose processes may take longer than this one
        _tell("stopped; finished units are kept: run again to go on", "yellow", interrupted.exit_code)
        sys.exit(interrupted.exit_code)


def _tell(message: str, colour: str, exit_code: int) -> None:
    """Says at the end why it is one, to people or to whoever reads the run's events."""
    if run_log.format == "json":
        run_log.event("end", message=message, exit_code=exit_code)
    else:
        typer.secho("\n".join(printable(line) for line in message.splitlines()), fg=colour, err=True)
