"""One worker's part of a training job, from prepared examples to trained weights and their scores."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.bigbird.classifier import Classifier
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier, load_encoder
from pipeline.config.train import PretrainingSettings, TrainJob
from pipeline.inference.memory import keep_freed_memory
from pipeline.storage.objects import Storage
from pipeline.text.windows import WindowPolicy
from pipeline.training.batches import Batcher
from pipeline.training.class_weights import class_weights
from pipeline.training.dropout import replace_dropouts
from pipeline.training.loop import Loop, Report
from pipeline.training.masked import MaskedModel, new_head, pretrained_head
from pipeline.training.model import Model
from pipeline.training.objective import Objective
from pipeline.training.prepare import STATES, Prepared
from pipeline.training.replicas import Threads, started
from pipeline.training.split_documents import SPLITS
from pipeline.training.token_store import TokenizedDocuments
from pipeline.training.validate import Validator
from pipeline.training.workers import Workers

PROGRESS = "progress.jsonl"
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """All that a worker is told. `device` is cpu or cuda, `dtype` bf16 or fp32."""

    job: TrainJob
    prepared: Prepared
    policy: WindowPolicy
    device: str
    dtype: str
    budget: int
    threads: int


def work(run: TrainingRun, workers: Workers, report: Report) -> None:
    """Trains; worker 0 leaves the weights and the scores in the work folder."""
    packs = 1  # a GPU computes one at a time
    if run.device == "cpu":
        keep_freed_memory()
        packs = math.ceil(run.job.training.tokens_per_step / run.budget / workers.count)
    with started(run.threads, packs) as threads:
        _work(run, workers, threads, report)


def _work(run: TrainingRun, workers: Workers, threads: Threads, report: Report) -> None:
    batcher = batcher_of(run)
    splits = {name: TokenizedDocuments.load(run.prepared.work / name) for name in SPLITS}
    classifier = starting_classifier(run)
    if run.job.pretraining is not None:
        _pretrain(run, run.job.pretraining, classifier, batcher, workers, threads, report)
    model = _model(run, classifier, splits["train"])
    validator = Validator(model=model, batcher=batcher, workers=workers, threads=threads)

    loop = Loop(
        phase="training",
        settings=run.job.training,
        batcher=batcher,
        examples=splits["train"],
        workers=workers,
        threads=threads,
        folder=run.prepared.work / STATES / "training",
        state_every_s=run.job.output.state_every_s,
        report=report,
        validate=lambda: validator.validate(splits["validation"]),
    )
    place = loop.run(model)
    scores = {name: asdict(validator.validate(splits[name])) for name in SPLITS[1:] if len(splits[name])}
    if workers.rank == 0:
        result = {"scores": scores, "epochs": place.history, "best_epoch": place.best_epoch}
        (run.prepared.work / RESULT).write_text(json.dumps(result))


def _pretrain(
    run: TrainingRun,
    settings: PretrainingSettings,
    classifier: Classifier,
    batcher: Batcher,
    workers: Workers,
    threads: Threads,
    report: Report,
) -> None:
    """The encoder of `classifier` learns from text alone."""
    job = run.job
    changed = {
        "epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "hidden_tokens": settings.masked,
        "patience": None,
    }
    model = starting_masked_model(run, classifier)
    Loop(
        phase="pretraining",
        settings=job.training.model_copy(update=changed),
        batcher=batcher,
        examples=TokenizedDocuments.load(run.prepared.work / "pretraining"),
        workers=workers,
        threads=threads,
        folder=run.prepared.work / STATES / "pretraining",
        state_every_s=job.output.state_every_s,
        report=report,
    ).run(model)


def reporter(path: Path) -> Callable[[dict[str, Any]], None]:
    """Makes what appends each report to a file of JSON lines, which the driver follows."""

    def report(record: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    return report


def batcher_of(run: TrainingRun) -> Batcher:
    """Makes what cuts and packs the run's documents."""
    tokenizer = run.prepared.tokenizer()
    return Batcher(
        config=run.prepared.encoder,
        policy=run.policy,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        mask_id=tokenizer.mask_id,
        budget=run.budget,
    )


def _model(run: TrainingRun, classifier: Classifier, train: TokenizedDocuments) -> Model:
    job, head = run.job, run.prepared.head
    weight_L = class_weights(job.training.class_weights, head.problem_type, head.labels, train.target)
    objective = Objective(head.problem_type, None if weight_L is None else torch.from_numpy(weight_L))
    return Model(classifier, objective, run.device, run.dtype, head_only=job.training.head_only)


def starting_classifier(run: TrainingRun) -> Classifier:
    """Makes the classifier that training begins with: the checkpoint's, its encoder with a new head, or a new one."""
    job, encoder, head = run.job, run.prepared.encoder, run.prepared.head
    folder = _checkpoint(job)
    if folder is not None and job.head is None:
        classifier = load_classifier(folder, torch.float32)
    else:
        classifier = Classifier.fresh(encoder, head, seed=job.training.seed)
        if folder is not None:
            load_encoder(folder, classifier)
    replace_dropouts(classifier, job.training.dropout)
    return classifier


def starting_masked_model(run: TrainingRun, classifier: Classifier) -> MaskedModel:
    """Puts the checkpoint's masked-language-model head, or a new one where it has none, on `classifier`'s encoder."""
    encoder, folder = classifier.encoder, _checkpoint(run.job)
    if folder is not None and folder.head.task == "masked_lm":
        head = pretrained_head(folder, encoder.embeddings.word)
    else:
        head = new_head(run.prepared.encoder, encoder.embeddings.word, run.job.training.seed)
    return MaskedModel(encoder, head, run.device, run.dtype)


def _checkpoint(job: TrainJob) -> CheckpointFolder | None:
    if job.checkpoint is None:
        return None
    return CheckpointFolder.open(Storage(job.storage).fetch_folder(job.checkpoint.uri))
