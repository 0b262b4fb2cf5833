"""Who makes a training step: Rookery, and transformers' Trainer.

Both have AdamW with float32 weights, the same documents in a step, and dropout after embeddings and products.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from jobs.measure.benchmark.token_windows import MAX_TOKENS, TokenWindow
from jobs.sample import CHECKPOINT
from pipeline.added_tokens import SPIECE
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier
from pipeline.config.train import TrainingSettings
from pipeline.errors import ConfigError
from pipeline.inference.memory import give_freed_memory_back, keep_freed_memory
from pipeline.terms import Dtype
from pipeline.text.windows import WindowPolicy
from pipeline.training.batches import Batcher
from pipeline.training.dropout import replace_dropouts
from pipeline.training.model import Model
from pipeline.training.objective import Objective
from pipeline.training.replicas import started
from pipeline.training.stepper import Stepper
from pipeline.training.token_store import TokenizedDocuments
from pipeline.training.workers import Workers

LABELS = 5
HALF_WAY = 0.5  # of a run: no warm-up


class MakesSteps(Protocol):
    """What makes one step after the other, and is timed."""

    def __call__(self) -> float:
        """Makes a step of all documents; gives its loss."""


@dataclass(frozen=True)
class StepShape:
    """A model, by transformers' names of sizes, and how it is trained."""

    name: str
    sizes: dict[str, Any] = field(default_factory=dict)  # those that are not BigBird-base's
    documents: int = 8  # of a step
    budget: int = 8_192  # tokens of one of our packs
    dropout: float = 0.1

    def save(self, folder: Path) -> None:
        """Writes a checkpoint of random weights. Raises ConfigError where transformers or accelerate is missing."""
        config = transformers_modules().BigBirdConfig(
            num_labels=LABELS,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=0.0,  # Rookery has none there
            **self.sizes,
        )
        torch.manual_seed(0)
        transformers_modules().BigBirdForSequenceClassification(config).save_pretrained(folder)
        shutil.copy(CHECKPOINT / SPIECE, folder)


def transformers_modules() -> Any:
    """Imports transformers, with accelerate, which its Trainer needs. Raises ConfigError where one is missing."""
    try:
        import accelerate  # noqa: F401
        import transformers
    except ImportError as error:
        raise ConfigError(f"transformers' Trainer is needed: {error}; pip install 'rookery[benchmark]'") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def step_labels(windows: Sequence[TokenWindow]) -> list[int]:
    """Gives each window a label."""
    return [number % LABELS for number in range(len(windows))]


class TrainerStep:
    """One epoch of transformers' Trainer, over as many documents as make a step: one document at a time.

    Batches of several are no faster on a CPU, and padding would be computed too.
    """

    def __init__(
        self, folder: Path, windows: Sequence[TokenWindow], scratch: Path, threads: int, *, our_malloc: bool = False
    ) -> None:
        transformers = transformers_modules()
        self.our_malloc, self.threads = our_malloc, threads
        self.model = transformers.BigBirdForSequenceClassification.from_pretrained(folder)
        # A document of at most 704 tokens switches the model to full attention for good: later ones take longer.
        self.model.register_forward_pre_hook(lambda model, _: model.bert.set_attention_type("block_sparse"))
        settings = transformers.TrainingArguments(
            output_dir=str(scratch),
            per_device_train_batch_size=1,
            gradient_accumulation_steps=len(windows),
            num_train_epochs=1,
            weight_decay=TrainingSettings().weight_decay,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        self.trainer = transformers.Trainer(
            self.model,
            settings,
            train_dataset=[
                {"input_ids": window.tolist(), "attention_mask": [1] * len(window), "labels": target}
                for window, target in zip(windows, step_labels(windows), strict=True)
            ],
            data_collator=transformers.default_data_collator,
        )
        self.trainer.remove_callback(transformers.PrinterCallback)

    def __call__(self) -> float:
        keep_freed_memory() if self.our_malloc else give_freed_memory_back()
        torch.set_num_threads(self.threads)
        return float(self.trainer.train().training_loss)


class RookeryStep:
    """The step of `rookery train`."""

    def __init__(self, stepper: Stepper, packs: list[list[Any]], threads: int) -> None:
        self.stepper, self.packs, self.threads = stepper, packs, threads

    def __call__(self) -> float:
        keep_freed_memory()
        torch.set_num_threads(self.threads)
        return self.stepper.step(self.packs, 0, 0, HALF_WAY)

    @staticmethod
    @contextmanager
    def opened(
        folder: Path, shape: StepShape, windows: Sequence[TokenWindow], dtype: Dtype, cores: int
    ) -> "Iterator[RookeryStep]":
        """Loads the checkpoint, and starts the threads, which are there as long as the block runs."""
        checkpoint = CheckpointFolder.open(folder)
        classifier = load_classifier(checkpoint, torch.float32)
        replace_dropouts(classifier, shape.dropout)
        model = Model(classifier, Objective("single_label"), "cpu", dtype, head_only=False)
        settings = TrainingSettings(tokens_per_step=len(windows) * MAX_TOKENS)
        batcher = Batcher(
            checkpoint.encoder,
            WindowPolicy(MAX_TOKENS),
            cls_id=int(windows[0][0]),
            sep_id=int(windows[0][-1]),
            mask_id=None,
            budget=shape.budget,
        )
        examples = _examples(windows)
        (packs,) = batcher.steps(examples, settings, 0)
        with started(cores, len(packs)) as threads:
            stepper = Stepper.of(model, settings, batcher, examples, Workers(), threads)
            stepper.begin()
            yield RookeryStep(stepper, packs, cores // threads.count)


def _examples(windows: Sequence[TokenWindow]) -> TokenizedDocuments:
    """The documents, without [CLS] and [SEP]."""
    bodies = [window[1:-1] for window in windows]
    start_C = np.cumsum([0, *map(len, bodies)])
    return TokenizedDocuments(np.concatenate(bodies), start_C, np.array(step_labels(windows)))
