"""The training job's file, as strict as the labelling job's."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.bigbird.config import Activation, AttentionType, HeadKind, Pooling
from pipeline.config import (
    CheckpointSettings,
    CorpusSettings,
    Duration,
    LabelledCorpusSettings,
    Name,
    RaySettings,
    Settings,
    StorageSettings,
    TextSettings,
    load_settings,
)
from pipeline.machine import cores

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OpenShare = Annotated[float, Field(ge=0, lt=1)]


class SplitSettings(Settings):
    """Which documents are for what. Test documents are read once, at the end, for the model card."""

    train: Name = Field(default="train", description="The training split's name in corpus.split_column.")
    validation: Name = Field(default="validation", description="The validation split's name in corpus.split_column.")
    test: Name = Field(
        default="test", description="The test split's name in corpus.split_column; such documents need not be there."
    )
    validation_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1,
        description="Of the training documents, by a hash of their ids, where nothing else says which validate.",
    )


class InitSettings(Settings):
    """A new encoder with random weights, and its vocabulary."""

    vocabulary: int = Field(default=16_000, ge=32, description="Pieces of the sentencepiece model that is trained.")
    hidden_size: int = Field(default=128, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    intermediate_size: int = Field(default=256, ge=8)
    max_positions: int = Field(default=4096, ge=64, description="Tokens of the longest window.")
    block_size: int = Field(default=64, ge=1, description="Tokens; kernels exist for 16 to 128.")
    random_blocks: int = Field(default=3, ge=1)
    attention_type: AttentionType = "block_sparse"
    activation: Activation = "gelu_tanh"

    @model_validator(mode="after")
    def _heads_divide(self) -> "InitSettings":
        if self.hidden_size % self.heads:
            raise ValueError(f"heads must divide hidden_size ({self.hidden_size})")
        return self


class HeadSettings(Settings):
    """A new head, for the corpus's labels."""

    problem_type: Literal["single_label", "multi_label", "regression"] = "single_label"
    pooling: Pooling = "cls"
    kind: HeadKind = Field(default="bigbird", description="`bigbird` is transformers' own.")
    attention_size: int | None = Field(default=None, ge=1)
    dense_size: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _sizes_have_their_part(self) -> "HeadSettings":
        if self.attention_size is not None and self.pooling != "attention":
            raise ValueError("attention_size is for pooling: attention")
        if self.dense_size is not None and self.kind != "dense":
            raise ValueError("dense_size is for kind: dense")
        return self


class PretrainingSettings(Settings):
    """A masked-language-model phase before the head is trained; its text needs no labels."""

    corpus: CorpusSettings
    epochs: int = Field(default=1, ge=1)
    learning_rate: Positive = 5e-4
    masked: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.15, description="Share of the tokens that are to be guessed."
    )


class TrainingSettings(Settings):
    """How the weights are found."""

    epochs: int = Field(default=3, ge=1)
    tokens_per_step: int = Field(
        default=32_768, ge=64, description="Tokens whose gradients make one step, over all workers."
    )
    learning_rate: Positive = 3e-5
    warm_up: OpenShare = Field(default=0.06, description="Share of the steps in which the learning rate rises.")
    decay: Literal["cosine", "linear", "none"] = Field(default="linear", description="How it falls to zero after that.")
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    clip_norm: Positive = 1.0
    dropout: OpenShare = 0.1
    hidden_tokens: OpenShare = Field(
        default=0.0,
        description="Share of the tokens that training replaces by [MASK]; 0.1 to 0.3 help from scratch.",
    )
    windows: Literal["all", "random"] = Field(
        default="all",
        description="What an epoch reads of a long document: every window, or one stretch at a random place.",
    )
    shortest_stretch: int | None = Field(
        default=None,
        ge=1,
        description="With `random`: stretches are of random length too, from so many tokens on.",
    )
    class_weights: Literal["balanced"] | dict[Name, Positive] | None = Field(
        default=None, description="`balanced`, or a weight for each label; for single_label."
    )
    head_only: bool = Field(default=False, description="The encoder's weights stay as they are.")
    patience: int | None = Field(
        default=None, ge=1, description="Stop after so many epochs without a lower validation loss."
    )
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _stretch_is_random(self) -> "TrainingSettings":
        if self.shortest_stretch is not None and self.windows != "random":
            raise ValueError("shortest_stretch is for windows: random")
        return self


class WorkerSettings(Settings):
    """What training runs on."""

    workers: int = Field(default=1, ge=1, description="Each has a part of every step's packs.")
    num_gpus: Literal[0, 1] = Field(default=0, description="GPUs per worker; 0 computes on CPU.")
    num_cpus: int | None = Field(
        default=None,
        ge=1,
        description="CPU threads per worker, each of which computes packs of its own; default: 1 with a GPU, an equal "
        "part of this machine's cores without.",
    )
    dtype: Literal["auto", "bf16", "fp32"] = Field(
        default="auto",
        description="What products are computed in; weights are fp32 always. `auto`: bf16 where the hardware has it.",
    )
    token_budget: int | None = Field(
        default=None,
        ge=64,
        description="Tokens in one pack; default 65,536 with a GPU, 8,192 without.",
    )
    wait: Duration = Field(
        default=600.0,
        description="How long to wait for room on the cluster, where other jobs or an autoscaler may still make some.",
    )


class OutputSettings(Settings):
    """The checkpoint folder that training makes."""

    folder: Name = Field(
        description="A local folder; on a cluster one that every worker sees. What a run needs to go on lies beside it."
    )
    dtype: Literal["fp32", "fp16"] = Field(default="fp32", description="What the weights are stored as.")
    state_every_s: Positive = Field(default=120.0, description="Seconds of work that a kill may cost.")

    @property
    def path(self) -> Path:
        return Path(self.folder).absolute()


class TrainJob(Settings):
    """One training job: a labelled corpus in, a checkpoint folder out."""

    corpus: LabelledCorpusSettings
    output: OutputSettings
    validation: LabelledCorpusSettings | None = Field(
        default=None, description="A corpus of its own; otherwise documents of `corpus` validate."
    )
    test: LabelledCorpusSettings | None = Field(
        default=None,
        description="A corpus of its own; otherwise documents of `corpus` test, where split_column names some.",
    )
    splits: SplitSettings = SplitSettings()
    checkpoint: CheckpointSettings | None = Field(default=None, description="Where to start; this, or `init`.")
    init: InitSettings | None = Field(default=None, description="Start from scratch.")
    head: HeadSettings | None = Field(default=None, description="Without it, a checkpoint's own head is trained on.")
    pretraining: PretrainingSettings | None = None
    text: TextSettings = TextSettings()
    training: TrainingSettings = TrainingSettings()
    compute: WorkerSettings = WorkerSettings()
    storage: StorageSettings = StorageSettings()
    ray: RaySettings = RaySettings()

    @model_validator(mode="after")
    def _one_beginning(self) -> "TrainJob":
        if (self.checkpoint is None) == (self.init is None):
            raise ValueError("expected either checkpoint (train on) or init (from scratch)")
        if self.training.head_only and self.init is not None:
            raise ValueError("training.head_only needs a checkpoint: a new encoder knows nothing")
        if self.pretraining is not None and self.training.head_only:
            raise ValueError("pretraining trains the encoder, training.head_only does not")
        return self


def load_train_job(path: Path, overrides: list[str] | None = None) -> TrainJob:
    """Reads a training job's file. Raises ConfigError."""
    return load_settings(TrainJob, path, overrides or [])


def threads(compute: WorkerSettings) -> int:
    """CPU threads of one worker."""
    equal_part = max(1, cores() // compute.workers)
    return compute.num_cpus or (1 if compute.num_gpus else equal_part)
