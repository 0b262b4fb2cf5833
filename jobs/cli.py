"""`rookery`: the command line."""

from importlib.metadata import version
from typing import Annotated

import typer

from jobs import (
    compare,
    config,
    erase,
    errors,
    evaluate,
    export,
    import_checkpoint,
    label,
    publish,
    review,
    rollback,
    snapshots,
    sql,
    train,
    vacuum,
)
from jobs.exits import run
from jobs.version import print_version

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
app.command("snapshots")(snapshots.snapshots)
app.command("sql")(sql.sql)
app.command("compare")(compare.compare)
app.command("publish")(publish.publish_candidate)
app.command("rollback")(rollback.rollback)
app.command("vacuum")(vacuum.vacuum_table)
app.command("erase")(erase.erase)
app.command("export")(export.export)
app.add_typer(review.review_commands, name="review")
app.command("import")(import_checkpoint.import_checkpoint)
app.command("config")(config.config)
app.command("version")(print_version)


def _print_version(is_set: bool) -> None:
    if is_set:
        print(f"rookery {version('rookery')}")
        raise typer.Exit


@app.callback()
def rookery(
    asked: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Label corpora of long documents with BigBird, on Ray."""


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def benchmark(context: typer.Context) -> None:
    """Measure the encoder on this machine, beside transformers and beside what the machine allows."""
    from jobs.measure.benchmark.command import main as run_benchmark  # it imports torch, and has its own options

    run_benchmark(context.args)


def main() -> None:
    """Runs a command; a RookeryError ends it with the error's own exit code."""
    run(app)


if __name__ == "__main__":
    main()
