"""Where a training job reads and writes, checked before anything is read."""

from pipeline.config.corpus import CorpusSettings
from pipeline.config.train import TrainJob
from pipeline.corpus.overlaps import check_apart
from pipeline.storage.objects import Storage
from pipeline.training.prepare import work_folder


def corpora(job: TrainJob) -> dict[str, CorpusSettings]:
    """Lists the corpora that the job has, by the setting that names each."""
    named: dict[str, CorpusSettings | None] = {
        "corpus": job.corpus,
        "validation": job.validation,
        "test": job.test,
        "pretraining.corpus": job.pretraining.corpus if job.pretraining else None,
    }
    return {name: corpus for name, corpus in named.items() if corpus is not None}


def check_places(storage: Storage, job: TrainJob) -> None:
    """Raises ConfigError where the output can't be written, or lies among the documents; StorageError."""
    output, work = job.output.path, work_folder(job)
    check_apart(
        storage,
        {f"{name}.uris": corpus for name, corpus in corpora(job).items()},
        {"output.folder": str(output), "output.folder's work folder": str(work)},
        job.checkpoint,
    )
    for folder in (output.parent, work) if work.exists() else (output.parent,):
        storage.check_writable(str(folder), f"output.folder {output}: {folder}")
