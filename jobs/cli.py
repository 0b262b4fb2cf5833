"""`rookery`: the command line."""

import sys

import typer

from jobs import config, errors, evaluate, import_checkpoint, label, train
from jobs.interruption import Interrupted, interruptible
from jobs.show import printable
from pipeline.errors import RookeryError
from pipeline.processes import end_children

app = typer.Typer(
    help="Label corpora of long documents with BigBird, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("label")(label.label)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("errors")(errors.errors)
app.command("import")(import_checkpoint.import_checkpoint)
app.command("config")(config.config)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def benchmark(context: typer.Context) -> None:
    """Measure the encoder on this machine, beside transformers and beside what the machine allows."""
    from jobs.benchmark.command import (
        main,
    )  # it imports torch, and has its own options: it runs without typer

    main(context.args)


def main() -> None:
    """Runs a command; a RookeryError ends it with the error's own exit code."""
    run(app)


def run(command: typer.Typer) -> None:
    """Runs a typer app, turning errors that users can act on into one message and an exit code."""
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


if __name__ == "__main__":
    main()
