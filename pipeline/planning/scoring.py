"""What gives a document's scores: a job's checkpoint, its task and settings, and the key that names them all."""

from collections.abc import Hashable
from dataclasses import dataclass, replace

from pipeline.checkpoints.config import WindowConfig
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.config.label import Job, TextSettings
from pipeline.errors import CheckpointError, ConfigError
from pipeline.identity import digest
from pipeline.inference.budget import default_budget
from pipeline.inference.dtype import resolve_dtype
from pipeline.planning.checkpoint_task import check_questions, make_task
from pipeline.storage.objects import Storage
from pipeline.storage.registered_models import PinnedCheckpoint
from pipeline.tasks.task import Task
from pipeline.terms import SCORING_VERSION, Dtype
from pipeline.text.packer import Packer
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy


@dataclass(frozen=True, slots=True)
class Scoring:
    """All that decides a document's logits. Travels to the workers."""

    key: str
    checkpoint_uri: str  # one that stays the same: a version, where the job names an alias
    checkpoint_folder: str  # where every machine finds its files
    weights_digest: str
    tokenizer_digest: str
    policy: WindowPolicy
    dtype: Dtype
    token_budget: int
    block_size: int  # the encoder's, in tokens
    located: bool = False  # whether the task needs LOCATED_FIELDS
    questions: tuple[str, ...] = ()

    @property
    def packing(self) -> Hashable:
        """All that decides a unit's packs: checkpoints that are equal in it share them."""
        windows = replace(self.policy, aggregation="mean")  # how windows are put together again is no matter of packs
        return self.tokenizer_digest, windows, self.token_budget, self.block_size, self.located, self.questions

    def packer(self, tokenizer: Tokenizer) -> Packer:
        """Makes what turns documents into packs."""
        return Packer(
            tokenizer=tokenizer,
            policy=self.policy,
            budget=self.token_budget,
            block_size=self.block_size,
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
    pinned = storage.pinned_checkpoint(job.checkpoint.uri)
    try:
        checkpoint = CheckpointFolder.open(storage.fetch_folder(pinned.folder))
    except CheckpointError as error:
        raise error if pinned.name == pinned.folder else CheckpointError(f"{pinned.name}: {error}") from error
    tokenizer = Tokenizer.open(checkpoint.path)
    tokenizer.check_fits(checkpoint.encoder.vocab_size, checkpoint.path)
    policy = window_policy(job.text, checkpoint.windows, checkpoint.encoder.max_positions)
    task = make_task(job.task, checkpoint, policy.aggregation)
    check_questions(task, checkpoint, tokenizer, policy)
    return Scorer(checkpoint, tokenizer, task, _scoring(job, pinned, checkpoint, policy, task))


def window_policy(settings: TextSettings, preferred: WindowConfig, max_positions: int) -> WindowPolicy:
    """Chooses how documents are cut for an encoder of `max_positions` tokens, and how their windows are aggregated.

    The job's settings decide, then what the checkpoint prefers, then our defaults. Raises ConfigError.
    """
    max_tokens = settings.max_tokens or preferred.max_tokens or max_positions
    if max_tokens > max_positions:
        raise ConfigError(
            f"text.max_tokens {max_tokens}: the checkpoint has {max_positions} positions; expected at most that"
        )
    overlaps = (settings.overlap, preferred.overlap, min(128, max_tokens // 8))
    try:
        return WindowPolicy(
            max_tokens=max_tokens,
            long_documents=settings.long_documents or preferred.long_documents or "windows",
            overlap=next(overlap for overlap in overlaps if overlap is not None),
            aggregation=settings.aggregation or preferred.aggregation or "mean",
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _scoring(
    job: Job, pinned: PinnedCheckpoint, checkpoint: CheckpointFolder, policy: WindowPolicy, task: Task
) -> Scoring:
    """Names all that decides the scores, by the job's settings and the checkpoint.

    Raises ConfigError for a dtype that can't be.
    """
    try:
        dtype = resolve_dtype(job.compute.dtype, job.compute.device)
    except ConfigError as error:
        raise ConfigError(f"compute.{error}") from error
    weights_digest, tokenizer_digest = checkpoint.weights_digest(), checkpoint.tokenizer_digest()
    decides = {
        "version": SCORING_VERSION,
        "weights": weights_digest,
        "tokenizer": tokenizer_digest,
        "windows": [policy.max_tokens, policy.long_documents, policy.overlap, policy.aggregation],
        "dtype": dtype,
        **task.scoring,
    }
    key = digest("scoring/1", decides)[:16]
    budget = job.compute.token_budget or default_budget(job.compute.device)
    return Scoring(
        key=key,
        checkpoint_uri=pinned.name,
        checkpoint_folder=pinned.folder,
        weights_digest=weights_digest,
        tokenizer_digest=tokenizer_digest,
        policy=policy,
        dtype=dtype,
        token_budget=budget,
        block_size=checkpoint.encoder.block_size,
        located=task.located,
        questions=task.questions,
    )
