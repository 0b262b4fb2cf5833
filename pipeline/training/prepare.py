"""Everything before the first step: read, check, tokenize, once; the result lies beside the output folder.

<output>.work/
  start/            the checkpoint's tokenizer, or the vocabulary that was trained
  train/  validation/  test/  pretraining/   token ids and targets (token_store.py)
  training_documents.parquet   digests of what trains and validates, here and in the checkpoint's training before
  prepared.json     what was found, and a digest of the settings that decide the weights; written last
  states/           of training's phases (loop.py)
  progress.jsonl    what was reported
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.added_tokens import SPIECE
from pipeline.atomic import written_beside
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.checkpoints.config import WindowConfig
from pipeline.checkpoints.folder import CheckpointFolder, tokenizer_files
from pipeline.config.train import HeadSettings, TrainJob
from pipeline.corpus.training_documents import TRAINING_DOCUMENTS_NAME as TRAINING_DOCUMENTS, TrainingDocuments
from pipeline.errors import CheckpointError, ConfigError
from pipeline.identity import digest
from pipeline.storage.objects import Storage
from pipeline.tasks.targets import found_labels, targets
from pipeline.terms import Label
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.vocabulary import train_vocabulary
from pipeline.training.class_weights import class_weights
from pipeline.training.split_documents import SPLITS, Documents, DocumentSource, SplitName, plain_texts
from pipeline.training.token_store import TokenWriter, write_texts

# Of the work folder: raise it when what lies there, or what is drawn from a seed, changes.
WORK_VERSION = 3
STATES = "states"
# They decide where and how fast, not what comes out.
UNDECISIVE: dict[str, Any] = {"ray": True, "storage": True, "compute": True, "output": {"state_every_s"}}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What training starts from, prepared now or, at `earlier` (seconds since 1970), by a run before."""

    work: Path
    earlier: float | None
    encoder: EncoderConfig
    head: HeadConfig
    windows: WindowConfig  # as the checkpoint wants them
    counts: dict[SplitName, dict[str, int]]  # documents of each label; of a regression, of all
    documents: dict[SplitName, int]
    tokens: dict[SplitName, int]
    left_out: int  # documents of no split
    repeated: dict[SplitName, int]  # documents left out, because an earlier split has their text

    @property
    def start(self) -> Path:
        """The folder with the tokenizer."""
        return self.work / "start"

    @property
    def has_state(self) -> bool:
        """Whether an earlier run left a place to go on from."""
        return any(self.work.glob(f"{STATES}/*/state.pt"))

    @property
    def repeats(self) -> str:
        """Says which documents were left out because their text is for something else already; empty if none were."""
        counts = [f"{n:,} of {split}" for split, n in self.repeated.items() if n]
        why = "whose text trains or validates already, here or in the checkpoint's training before"
        return f"{' and '.join(counts)}, {why}" if counts else ""

    def tokenizer(self) -> Tokenizer:
        """Loads the tokenizer. Raises CheckpointError where it is damaged."""
        return Tokenizer.open(self.start)


def work_folder(job: TrainJob) -> Path:
    """Names the folder beside the output in which a job prepares and keeps its state."""
    return job.output.path.with_name(job.output.path.name + ".work")


def job_digest(job: TrainJob) -> str:
    """Digests the settings that decide the weights, as 64 hex digits."""
    return digest("training/1", job.model_dump(mode="json", exclude=UNDECISIVE))


def is_prepared(job: TrainJob) -> bool:
    """Tells whether a run has read the corpus, so that no other need."""
    return (work_folder(job) / "prepared.json").exists()


def prepare(job: TrainJob) -> Prepared:
    """Reads the corpus and the checkpoint, or takes what a run of the same job has prepared.

    Raises:
        ConfigError, InputError: something is wrong with the job; nothing has been computed yet.
    """
    work, digest = work_folder(job), job_digest(job)
    marker = work / "prepared.json"
    earlier = marker.stat().st_mtime if marker.exists() else None
    if earlier is None:
        work.mkdir(parents=True, exist_ok=True)
        facts = _prepare(job, work) | {"job": digest, "version": WORK_VERSION}
        with written_beside(marker) as partial:
            partial.write_text(json.dumps(facts))
    facts = json.loads(marker.read_text())
    if facts.get("version") != WORK_VERSION:
        raise ConfigError(
            f"{work}: holds the state of a run of another version of Rookery, which this one can't go on from; remove "
            "that folder to train anew"
        )
    if facts["job"] != digest:
        raise ConfigError(
            f"{work}: holds the state of a run with other settings; remove that folder to train anew, or "
            "give another output.folder"
        )
    head = facts["head"] | {"labels": tuple(facts["head"]["labels"])}
    return Prepared(
        work=work,
        earlier=earlier,
        encoder=EncoderConfig(**facts["encoder"]),
        head=HeadConfig(**head),
        windows=WindowConfig(**facts["windows"]),
        counts=facts["counts"],
        documents=facts["documents"],
        tokens=facts["tokens"],
        left_out=facts["left_out"],
        repeated=facts["repeated"],
    )


def _prepare(job: TrainJob, work: Path) -> dict[str, Any]:
    storage = Storage(job.storage)
    start = work / "start"
    shutil.rmtree(start, ignore_errors=True)  # of a run that was killed, or had a mistake
    start.mkdir()
    source = DocumentSource.open(storage, job)
    folder = None
    if job.checkpoint is not None:
        folder = CheckpointFolder.open(storage.fetch_folder(job.checkpoint.uri))
        for name, file in tokenizer_files(folder.path).items():
            shutil.copyfile(file, start / name)
    documents = _documents(source, folder)  # before the long part: most mistakes show here
    labels = documents.labels
    head = _head(job, folder, labels)
    target = {split: targets(head.problem_type, head.labels, labels[split]) for split in SPLITS}
    class_weights(job.training.class_weights, head.problem_type, head.labels, target["train"])
    if job.init is not None:
        (start / SPIECE).write_bytes(_vocabulary(storage, job, documents))
    tokenizer = Tokenizer.open(start)
    if folder is not None:
        tokenizer.check_fits(folder.encoder.vocab_size, folder.path)
    if job.training.hidden_tokens or job.pretraining:
        _require_mask(tokenizer, start)
    writers = {split: TokenWriter(work / split, tokenizer) for split in SPLITS}
    for split, document in documents:
        writers[split].add(document.text)
    for split in SPLITS:
        writers[split].finish(target[split])
    if job.pretraining is not None:
        write_texts(work / "pretraining", tokenizer, plain_texts(storage, job.pretraining.corpus))
    documents.trained_on.write(work / TRAINING_DOCUMENTS)
    encoder = folder.encoder if folder else _new_encoder(job, tokenizer.vocab_size)
    return {
        "encoder": asdict(encoder),
        "head": asdict(head),
        "windows": asdict(folder.windows if folder else WindowConfig(None, None, None, None)),
        "counts": {split: _count(head, labels[split]) for split in SPLITS},
        "documents": {split: len(labels[split]) for split in SPLITS},
        "tokens": {split: sum(writers[split].lengths) for split in SPLITS},
        "left_out": documents.left_out,
        "repeated": documents.repeated,
    }


def _documents(source: DocumentSource, folder: CheckpointFolder | None) -> Documents:
    """Chosen with what the checkpoint says of its own training.

    One that says nothing is taken for an encoder that saw no labels, unless its head is trained on: that has seen some.
    """
    earlier = None if folder is None else TrainingDocuments.read(folder.path)
    complete = earlier.complete if earlier else folder is None or source.job.head is not None
    return source.choose(earlier, complete=complete)


def _require_mask(tokenizer: Tokenizer, start: Path) -> None:
    if tokenizer.mask_id is None:
        raise CheckpointError(
            f"{start}: the vocabulary has no [MASK], which training.hidden_tokens and pretraining need; set "
            "hidden_tokens to 0"
        )


def _vocabulary(storage: Storage, job: TrainJob, documents: Documents) -> bytes:
    assert job.init is not None
    texts: Iterator[tuple[str, str]] = (
        (document.id, document.text) for split, document in documents if split == "train"
    )
    if job.pretraining is not None:
        more = plain_texts(storage, job.pretraining.corpus)
        texts = chain(texts, ((str(number), text) for number, text in enumerate(more)))
    return train_vocabulary(texts, job.init.vocabulary)


def _new_encoder(job: TrainJob, vocab_size: int) -> EncoderConfig:
    init = job.init
    assert init is not None
    return EncoderConfig(
        vocab_size=vocab_size,
        hidden_size=init.hidden_size,
        layers=init.layers,
        heads=init.heads,
        intermediate_size=init.intermediate_size,
        max_positions=init.max_positions,
        type_vocab_size=2,
        block_size=init.block_size,
        random_blocks=init.random_blocks,
        attention_type=init.attention_type,
        activation=init.activation,
        norm_eps=1e-12,
        use_bias=True,
        rescale_embeddings=False,
    )


def _head(job: TrainJob, folder: CheckpointFolder | None, labels: Mapping[SplitName, list[Label]]) -> HeadConfig:
    """The job's new head for the labels of all splits, or the checkpoint's own.

    A rare label may have fallen to the test documents alone: it can't be learned, but the others can.
    """
    if job.head is None and folder is not None:
        if folder.head.task != "classification":
            raise ConfigError(
                f"head: the checkpoint's own, which a job without one goes on with, is for {folder.head.task}, and "
                "labels of documents can't train it; name a new one with head.pooling and head.kind"
            )
        return folder.head
    settings = job.head or HeadSettings()
    found_labels(settings.problem_type, labels["train"])  # or there is nothing to learn
    return HeadConfig(
        pooling=settings.pooling,
        head=settings.kind,
        problem_type=settings.problem_type,
        labels=found_labels(settings.problem_type, chain.from_iterable(labels.values())),
        attention_size=settings.attention_size,
        dense_size=settings.dense_size,
    )


def _count(head: HeadConfig, labels: list[Label]) -> dict[str, int]:
    if head.problem_type == "regression":
        return {"documents": len(labels)}
    names = (name for label in labels for name in (label if isinstance(label, tuple) else (label,)))
    return dict(sorted(Counter(map(str, names)).items()))
