"""`rookery train`: a labelled corpus in, a checkpoint folder out. Also `python -m jobs.train`, for `ray job submit`.

There is no separate resume: what an earlier run of the same job prepared and learnt lies beside the output folder, and is
gone on from.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs import show_training
from pipeline.dataflow.cluster import connection
from pipeline.dataflow.plan import chosen_policy
from pipeline.errors import ConfigError
from pipeline.inference.budget import default_budget
from pipeline.inference.dtype import DeviceKind, resolve_dtype
from pipeline.training.prepare import job_digest, prepare
from pipeline.training.settings import TrainJob, load_train_job


def train(
    job_file: Annotated[Path, typer.Option("--config", help="The training job's file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one field: path=value, e.g. output.folder=out/model."),
    ] = None,
) -> None:
    """Train a classifier from a labelled corpus; run again to go on after a crash."""
    run_job(load_train_job(job_file, overrides))


def run_job(job: TrainJob) -> dict[str, Any] | None:
    """Prepares, trains, writes the checkpoint folder; returns its scores by split, or None where it was there already."""
    if job.output.path.exists():
        _refuse_other_output(job)
        show_training.done_already(job)
        return None
    prepared = prepare(job)
    show_training.prepared(job, prepared)
    policy, aggregation = chosen_policy(job.text, prepared.windows, prepared.encoder.max_positions)
    kind: DeviceKind = "cuda" if job.compute.num_gpus else "cpu"
    threads = job.compute.num_cpus or _threads(job)
    with connection(job.ray, job.compute.workers * threads + 1):
        from pipeline.dataflow.trainer import fit  # imports ray, which the connection has prepared
        from pipeline.training.result import finish
        from pipeline.training.run import Run

        run = Run(
            job=job,
            prepared=prepared,
            policy=policy,
            aggregation=aggregation,
            device=kind,
            dtype=resolve_dtype(job.compute.dtype, kind),
            budget=job.compute.token_budget or default_budget(kind),
            threads=threads,
        )
        fit(run, show_training.progress)
    scores = finish(run)
    show_training.summary(job, scores)
    return scores


def _threads(job: TrainJob) -> int:
    return 1 if job.compute.num_gpus else max(1, (os.cpu_count() or 1) // job.compute.workers)


def _refuse_other_output(job: TrainJob) -> None:
    """The folder that this very job made is no error."""
    made_by = job.output.path / "training.json"
    if not made_by.exists() or job_digest(job) not in made_by.read_text():
        raise ConfigError(
            f"output.folder {job.output.folder}: exists, and was not made by this job; remove it or name another"
        )


if __name__ == "__main__":
    from jobs.cli import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(train)
    run(app)
