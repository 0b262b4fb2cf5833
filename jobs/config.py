"""`rookery config`: what a job file may say."""

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml

from pipeline.config import Job, load_job


def config(
    job_file: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Check this job file and print it with every default filled in."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one field: path=value.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of job files, for editors.")
    ] = False,
) -> None:
    """Check a job file, or print the schema of job files."""
    if schema:
        print(json.dumps(Job.model_json_schema(), indent=2))
    elif job_file:
        print(
            yaml.safe_dump(load_job(job_file, overrides).model_dump(mode="json"), sort_keys=False),
            end="",
        )
    else:
        raise typer.BadParameter("give --schema, or --config with a job file")
