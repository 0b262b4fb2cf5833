"""What gives a document's scores: a job's checkpoint, its task and settings, and the key that names them all."""

from dataclasses import dataclass

from pipeline.checkpoints.config import WindowConfig
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.config.label import Job, TextSettings
from pipeline.errors import ConfigError
from pipeline.identity import digest
from pipeline.inference.budget import default_budget
from pipeline.inference.dtype import resolve_dtype
from pipeline.planning.checkpoint_task import check_questions, make_task
from pipeline.storage.objects import Storage
from pipeline.tasks.task import Task
from pipeline.terms import Aggregation, Dtype
from pipeline.text.packer import Packer
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy

SCORING_VERSION = 4  # raise it when the same settings give other scores


@dataclass(frozen=True, slots=True)
class Scoring:
    """All that decides a document's logits. Travels to the workers."""

    key: str
    checkpoint_uri: str
    weights_digest: str
    tokenizer_digest: str
    policy: WindowPolicy
    aggregation: Aggregation
    dtype: Dtype
    token_budget: int
    located: bool = False  # whether the task needs LOCATED_FIELDS
    questions: tuple[str, ...] = ()

    def packer(self, tokenizer: Tokenizer, block_size: int) -> Packer:
        """Makes what turns documents into packs. `block_size`: the encoder's, in tokens."""
        return Packer(
            tokenizer=tokenizer,
            policy=self.policy,
            budget=self.token_budget,
            block_size=block_size,
            located=self.located,
            questions=self.questions,
        )


@dataclass(frozen=True, slots=True)
class Scorer:
    """A job's checkpoint, opened without its weights, and what is made of it."""

    checkpoint: CheckpointFolder
    tokenizer: Tokenizer
    task: Task
    scoring: Scoring


def open_scorer(storage: Storage, job: Job) -> Scorer:
    """Opens the job's checkpoint: a corrupt one is found now, not by a worker.

    Raises ConfigError for settings that don't suit it, CheckpointError, AccessError, StorageError.
    """
    checkpoint = CheckpointFolder.open(storage.fetch_folder(job.checkpoint.uri))
    tokenizer = Tokenizer.open(checkpoint.path)
    tokenizer.check_fits(checkpoint.encoder.vocab_size, checkpoint.path)
    policy, aggregation = window_policy(job.text, checkpoint)
    task = make_task(job.task, checkpoint, aggregation)
    check_questions(task, checkpoint, tokenizer, policy)
    return Scorer(checkpoint, tokenizer, task, _scoring(job, checkpoint, policy, aggregation, task))


def window_policy(settings: TextSettings, checkpoint: CheckpointFolder) -> tuple[WindowPolicy, Aggregation]:
    """The job's settings, then the checkpoint's, then ours: policy and aggregation. Raises ConfigError."""
    return chosen_policy(settings, checkpoint.windows, checkpoint.encoder.max_positions)


def chosen_policy(settings: TextSettings, own: WindowConfig, longest: int) -> tuple[WindowPolicy, Aggregation]:
    """Chooses the windows of an encoder of `longest` positions, and how they are aggregated.

    The job's settings decide, then the checkpoint's (`own`), then ours. Raises ConfigError.
    """
    max_tokens = settings.max_tokens or own.max_tokens or longest
    if max_tokens > longest:
        raise ConfigError(
            f"text.max_tokens {max_tokens}: the checkpoint has {longest} positions; expected at most that"
        )
    overlap = next(o for o in (settings.overlap, own.overlap, min(128, max_tokens // 8)) if o is not None)
    try:
        policy = WindowPolicy(max_tokens, settings.long_documents or own.long_documents or "windows", overlap)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return policy, settings.aggregation or own.aggregation or "mean"


def _scoring(
    job: Job, checkpoint: CheckpointFolder, policy: WindowPolicy, aggregation: Aggregation, task: Task
) -> Scoring:
    """Names all that decides the scores, by the job's settings and the checkpoint.

    Raises ConfigError for a dtype that can't be.
    """
    dtype = resolve_dtype(job.compute.dtype, job.compute.device)
    weights_digest, tokenizer_digest = checkpoint.weights_digest(), checkpoint.tokenizer_digest()
    decides = {
        "version": SCORING_VERSION,
        "weights": weights_digest,
        "tokenizer": tokenizer_digest,
        "windows": [policy.max_tokens, policy.long_documents, policy.overlap, aggregation],
        "dtype": dtype,
        **task.scoring,
    }
    key = digest("scoring/1", decides)[:16]
    budget = job.compute.token_budget or default_budget(job.compute.device)
    return Scoring(
        key=key,
        checkpoint_uri=job.checkpoint.uri,
        weights_digest=weights_digest,
        tokenizer_digest=tokenizer_digest,
        policy=policy,
        aggregation=aggregation,
        dtype=dtype,
        token_budget=budget,
        located=task.located,
        questions=task.questions,
    )
