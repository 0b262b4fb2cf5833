"""`rookery config`: what a job's file may say."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
import yaml

from pipeline.config.evaluate import EvaluationJob
from pipeline.config.label_file import LabelFile
from pipeline.config.loader import load_settings
from pipeline.config.train import TrainJob
from pipeline.config.values import Settings

JOBS: dict[str, type[Settings]] = {"label": LabelFile, "train": TrainJob, "evaluate": EvaluationJob}


def config(
    job_file: Annotated[
        Path | None,
        typer.Option("--config", help="Check this file and print it with every default filled in."),
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override one field: path=value.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of such files, for editors.")] = False,
    command: Annotated[
        Literal["label", "train", "evaluate"],
        typer.Option("--for", help="The command whose file it is."),
    ] = "label",
) -> None:
    """Check a job's file, or print the schema of such files."""
    if schema:
        print(json.dumps(JOBS[command].model_json_schema(), indent=2))
    elif job_file:
        settings = load_settings(JOBS[command], job_file, overrides or [])
        print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), end="")
    else:
        raise typer.BadParameter("give --schema, or --config with a file")
