"""`rookery train`: a labelled corpus in, a checkpoint folder out. Also `python -m jobs.train`, for `ray job submit`.

There is no separate resume: what an earlier run of the same job prepared and learnt lies beside the output folder,
and is gone on from.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.terminal import train_output
from pipeline.cluster.connection import check_cores, cluster_address, connection, worker_threads
from pipeline.config.label import CheckpointSettings
from pipeline.config.train import TrainJob, load_train_job
from pipeline.corpus.files import discover
from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage
from pipeline.training.places import check_places, corpora
from pipeline.training.prepare import is_prepared, job_digest, prepare


def train(
    job_file: Annotated[Path, typer.Option("--config", help="The training job's file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one field: path=value, e.g. output.folder=out/model."),
    ] = None,
) -> None:
    """Train a classifier from a labelled corpus; run again to go on after a crash."""
    run_training(load_train_job(job_file, overrides))


def run_training(job: TrainJob) -> dict[str, Any] | None:
    """Prepares, trains, writes the checkpoint folder; returns its scores by split, or None where it was there."""
    if job.checkpoint:  # one and the same for all workers
        uri = Storage(job.storage).pinned_checkpoint(job.checkpoint.uri).name
        job = job.model_copy(update={"checkpoint": CheckpointSettings(uri=uri)})
    if job.output.path.exists():
        _refuse_other_output(job)
        train_output.print_done_already(job)
        return None
    storage = Storage(job.storage)
    check_places(storage, job)
    if not is_prepared(job):
        train_output.print_corpora({name: discover(storage, c) for name, c in corpora(job).items()})
    prepared = prepare(job)
    train_output.print_prepared(job, prepared)
    n_threads = job.compute.workers * worker_threads(job.compute)
    if not cluster_address(job.ray):
        workers = f"{job.compute.workers} training workers" if job.compute.workers > 1 else "training"
        check_cores(n_threads, workers, "compute.num_cpus or compute.workers")
    with connection(job.ray, n_threads + 1):
        from pipeline.cluster.trainer import fit, make_run  # it imports ray, which is prepared now
        from pipeline.training.result import finish

        run = make_run(job, prepared)
        fit(run, train_output.print_training_progress, train_output.print_waiting)
    scores = finish(run)
    train_output.print_scores(job, scores)
    return scores


def _refuse_other_output(job: TrainJob) -> None:
    """The folder that this very job made is no error."""
    if _made_by(job.output.path) != job_digest(job):
        raise ConfigError(
            f"output.folder {job.output.folder}: exists, and was not made by this job; remove it or name another"
        )


def _made_by(folder: Path) -> Any:
    """The digest of the job that trained a folder; None where no job did."""
    try:
        record = json.loads((folder / "training.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: not JSON
        return None
    return record.get("job") if isinstance(record, dict) else None


if __name__ == "__main__":
    from jobs.exits import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(train)
    run(app)
