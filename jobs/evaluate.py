"""`rookery evaluate`: what a checkpoint is worth on documents whose labels are known."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.config.evaluate import EvaluationJob
from pipeline.config.loader import load_settings


def evaluate(
    job_file: Annotated[Path, typer.Option("--config", help="The evaluation file (YAML).")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override one field: path=value.")] = None,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="Fit temperature and thresholds on the validation split; store them in the checkpoint.",
        ),
    ] = False,
) -> None:
    """Measure a checkpoint on labelled documents; write metrics.json and report.html."""
    from jobs.evaluation_run import run_evaluation  # imports scikit-learn, which takes a second

    run_evaluation(load_settings(EvaluationJob, job_file, overrides or []), fitting=fit)
