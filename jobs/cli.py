"""`rookery`: the command line. What a command takes, and what its help says of it, is where it is written."""

from importlib.metadata import version
from typing import Annotated

import typer

from jobs.command_group import Command, CommandGroup, add_commands
from jobs.exits import run

INSTALLATION = "Look at this installation"
PANELS: dict[str, dict[str, Command]] = {
    "Label a corpus": {
        "label": Command(
            "jobs.label:label",
            "Make a prediction table true: label what is missing, publish it.",
            "rookery label --config job.yaml --dry-run",
            "rookery label --config job.yaml",
            "rookery label --config job.yaml --limit 1000 --set table.uri=out/trial",
        ),
        "plan": Command(
            "jobs.plan:plan",
            "Estimate what labelling will take, before it is started.",
            "rookery plan --config job.yaml",
            "rookery plan --config job.yaml --set compute.actors=8 --format json",
        ),
        "errors": Command(
            "jobs.errors:errors",
            "List the documents that could not be labelled, by reason.",
            "rookery errors --config job.yaml",
            "rookery errors --config job.yaml --reason no_column --all",
        ),
    },
    "Look at a table": {
        "status": Command(
            "jobs.status:status",
            "Tell how far a run is, or what came of the newest ones.",
            "rookery status s3://my-tables/topics",
            "rookery status s3://my-tables/topics --runs 1 --format json",
        ),
        "snapshots": Command(
            "jobs.snapshots:snapshots",
            "List a table's snapshots and what changed in each.",
            "rookery snapshots s3://my-tables/topics",
            "rookery snapshots s3://my-tables/topics --plot history.html",
        ),
        "compare": Command(
            "jobs.compare:compare",
            "Compare the labels of two snapshots.",
            "rookery compare s3://my-tables/topics@11 s3://my-tables/topics",
            "rookery compare out/topics out/topics@candidate-13 --html changes.html",
        ),
    },
    "Hand it over": {
        "export": Command(
            "jobs.export:export",
            "Write predictions as CSV, JSON Lines, Arrow or Parquet.",
            "rookery export s3://my-tables/topics predictions.csv",
            "rookery export s3://my-tables/topics changes.jsonl.gz --since 11",
            """rookery export out/topics rust.parquet --where "label = 'rust'\"""",
        ),
        "sql": Command(
            "jobs.sql:sql",
            "Print the statements that load a snapshot into a warehouse.",
            "rookery sql s3://my-tables/topics --engine duckdb > load.sql",
            "rookery sql s3://my-tables/topics --engine postgres | psql service=dwh",
        ),
        "review": Command(
            "jobs.review:review_commands",
            "Have people judge the least sure documents, and train on it.",
        ),
    },
    "Keep a table": {
        "publish": Command(
            "jobs.publish:publish_candidate",
            "Publish a candidate that a gate held back.",
            "rookery publish s3://my-tables/topics 13",
        ),
        "rollback": Command(
            "jobs.rollback:rollback",
            "Publish an older snapshot again as the newest.",
            "rookery rollback s3://my-tables/topics 11",
        ),
        "vacuum": Command(
            "jobs.vacuum:vacuum_table",
            "Delete what nothing needs any more.",
            "rookery vacuum s3://my-tables/topics",
            "rookery vacuum s3://my-tables/topics --delete --keep-days 90",
        ),
        "erase": Command(
            "jobs.erase:erase",
            "Erase documents from every snapshot, for good.",
            "rookery erase s3://my-tables/topics ids.txt --dry-run",
            "rookery erase s3://my-tables/topics ids.txt",
        ),
    },
    "Make a checkpoint": {
        "train": Command(
            "jobs.train:train",
            "Train a classifier from a labelled corpus.",
            "rookery train --config train.yaml",
            "rookery train --config train.yaml --set output.uri=checkpoints/trial",
        ),
        "evaluate": Command(
            "jobs.evaluate:evaluate",
            "Measure a checkpoint on labelled documents.",
            "rookery evaluate --config evaluate.yaml",
            "rookery evaluate --config evaluate.yaml --fit",
        ),
        "import": Command(
            "jobs.import_checkpoint:import_checkpoint",
            "Write a checkpoint from weights that others wrote.",
            "rookery import best.pt checkpoints/topics --pooling mean",
        ),
    },
    INSTALLATION: {
        "doctor": Command(
            "jobs.doctor:doctor",
            "Check this machine and all that a job needs; say what to do.",
            "rookery doctor",
            "rookery doctor --config job.yaml",
            "rookery doctor --config job.yaml --format json",
        ),
        "config": Command(
            "jobs.config:config",
            "Check a job's file, or print the schema of such files.",
            "rookery config --config job.yaml",
            "rookery config --for train --config train.yaml",
            "rookery config --schema > job.json",
        ),
        "version": Command(
            "jobs.version:print_version",
            "Print the versions that decide how this Rookery behaves.",
            "rookery version",
        ),
    },
}
COMMANDS = {name: command for commands in PANELS.values() for name, command in commands.items()}


class RookeryCommands(CommandGroup):
    """The commands of `rookery`."""

    targets = COMMANDS


app = typer.Typer(
    cls=RookeryCommands,
    help="Label corpora of long documents with BigBird, on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
add_commands(app, PANELS)


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
    help="Measure the encoder on this machine, beside transformers.",
    rich_help_panel=INSTALLATION,
)
def benchmark(context: typer.Context) -> None:
    """Measures the encoder on this machine, beside transformers and beside what the machine allows."""
    from jobs.measure.benchmark.command import main as run_benchmark  # it imports torch, and has its own options

    run_benchmark(context.args)


def main() -> None:
    """Runs a command; a RookeryError ends it with the error's own exit code."""
    run(app)


if __name__ == "__main__":
    main()
