"""`rookery`: the command line."""

import typer

from jobs import config, errors, evaluate, import_checkpoint, label, train
from jobs.exits import run

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
    from jobs.measure.benchmark.command import main as run_benchmark  # it imports torch, and has its own options

    run_benchmark(context.args)


def main() -> None:
    """Runs a command; a RookeryError ends it with the error's own exit code."""
    run(app)


if __name__ == "__main__":
    main()
