"""The training job's file, as strict as the labelling job's."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.corpus import CorpusSettings, LabelledCorpusSettings
from pipeline.config.label import CheckpointSettings, RaySettings, StorageSettings, TextSettings
from pipeline.config.loader import load_settings
from pipeline.config.values import Duration, Name, Settings
from pipeline.terms import Activation, AttentionType, DeviceKind, LabelHead, WindowPooling

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OpenShare = Annotated[float, Field(ge=0, lt=1)]


class SplitSettings(Settings):
    """Which documents are for what. Test documents are read once, at the end, for the model card."""

    train: Name = Field(
        default="train", description="What `corpus.split_column` calls the documents that the weights are found on."
    )
    validation: Name = Field(
        default="validation", description="What `corpus.split_column` calls the documents that choose the epoch."
    )
    test: Name = Field(
        default="test",
        description="What `corpus.split_column` calls the documents that are measured once, at the end; there need "
        "not be any.",
    )
    validation_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1,
        description="Share of the training documents, by a hash of their ids, that validate where nothing else says "
        "which do.",
    )


class InitSettings(Settings):
    """A new encoder with random weights, and its vocabulary."""

    vocabulary: int = Field(default=16_000, ge=32, description="Pieces of the sentencepiece model that is trained.")
    hidden_size: int = Field(default=128, ge=8, description="Width of a token's vector; BigBird-base has 768.")
    layers: int = Field(default=2, ge=1, description="Layers of the encoder; BigBird-base has 12.")
    heads: int = Field(
        default=2, ge=1, description="Attention heads of a layer, which divide `hidden_size`; BigBird-base has 12."
    )
    intermediate_size: int = Field(
        default=256, ge=8, description="Width of a layer's feed-forward part; BigBird-base has 3072."
    )
    max_positions: int = Field(default=4096, ge=64, description="Tokens of the longest window.")
    block_size: int = Field(
        default=64, ge=1, description="Tokens of a block of the sparse attention; GPU kernels exist for 16 to 128."
    )
    random_blocks: int = Field(
        default=3,
        ge=1,
        description="BigBird's number r of random blocks. When a model is used they are all the first block, so r "
        "says how much weight that one has, and up to which length a window is attended to in full.",
    )
    attention_type: AttentionType = Field(
        default="block_sparse",
        description="`block_sparse` is BigBird's; `original_full` lets every token see every other one.",
    )
    activation: Activation = Field(default="gelu_tanh", description="The non-linearity of the feed-forward part.")

    @model_validator(mode="after")
    def _heads_divide(self) -> "InitSettings":
        if self.hidden_size % self.heads:
            raise ValueError(f"heads must divide hidden_size ({self.hidden_size})")
        return self


class HeadSettings(Settings):
    """A new head, for the corpus's labels."""

    problem_type: Literal["single_label", "multi_label", "regression"] = Field(
        default="single_label",
        description="What a label is: one of several (softmax), any number of them (a sigmoid for each), or a number.",
    )
    pooling: WindowPooling = Field(
        default="cls",
        description="What the head gets of a window: the vector of its first token (`cls`), that one through a layer "
        "and tanh (`pooler`), the `mean` or `max` over all tokens, or an `attention` over them.",
    )
    kind: LabelHead = Field(
        default="bigbird",
        description="The head's layers: `linear`, `dense` (dense, ReLU, linear) or `bigbird`, which is transformers' "
        "own.",
    )
    attention_size: int | None = Field(
        default=None,
        ge=1,
        description="With `pooling: attention`: width of a layer with tanh before the weights. Not set: no such layer.",
        examples=[128],
    )
    dense_size: int | None = Field(
        default=None,
        ge=1,
        description="With `kind: dense`: width of the dense layer. Not set: the encoder's hidden size.",
        examples=[256],
    )

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
    epochs: int = Field(default=1, ge=1, description="How often all of the text is read.")
    learning_rate: Positive = Field(default=5e-4, description="The highest learning rate, after the warm-up.")
    masked: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.15, description="Share of the tokens that the model has to guess."
    )


class TrainingSettings(Settings):
    """How the weights are found."""

    epochs: int = Field(default=3, ge=1, description="How often the training documents are read, at most.")
    tokens_per_step: int = Field(
        default=32_768, ge=64, description="Tokens whose gradients make one step, over all workers."
    )
    learning_rate: Positive = Field(
        default=3e-5,
        description="The highest learning rate, after the warm-up; from scratch about 1e-3.",
        examples=[1e-3],
    )
    warm_up: OpenShare = Field(
        default=0.06, description="Share of the steps, at the beginning, in which the learning rate rises."
    )
    decay: Literal["cosine", "linear", "none"] = Field(
        default="linear", description="How the learning rate falls to zero after the warm-up."
    )
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.01, description="AdamW's decay of the weights."
    )
    clip_norm: Positive = Field(
        default=1.0, description="The longest gradient: a longer one is shortened to this norm."
    )
    dropout: OpenShare = Field(default=0.1, description="Share of the activations that training sets to zero.")
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
        description="With `windows: random`: stretches are of random length too, of at least so many tokens. Not set: "
        "all are as long as a window.",
        examples=[512],
    )
    class_weights: Literal["balanced"] | dict[Name, Positive] | None = Field(
        default=None,
        description="What a label's documents weigh, for `single_label`: `balanced` gives every label the same part "
        "of the loss; or a weight for each label. Not set: every document weighs the same.",
        examples=["balanced", {"ham": 1.0, "spam": 2.0}],
    )
    head_only: bool = Field(default=False, description="Train the head alone: the encoder's weights stay as they are.")
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop after so many epochs without a lower validation loss. Not set: train every epoch.",
        examples=[2],
    )
    seed: int = Field(default=0, ge=0, description="What all random numbers come from.")

    @model_validator(mode="after")
    def _stretch_is_random(self) -> "TrainingSettings":
        if self.shortest_stretch is not None and self.windows != "random":
            raise ValueError("shortest_stretch is for windows: random")
        return self


class WorkerSettings(Settings):
    """What training runs on."""

    workers: int = Field(
        default=1, ge=1, description="Training processes, each of which has a part of every step's packs."
    )
    num_gpus: Literal[0, 1] = Field(default=0, description="GPUs per worker; 0 computes on CPU.")
    num_cpus: int | None = Field(
        default=None,
        ge=1,
        description="CPU threads per worker, each of which computes packs of its own. Not set: 1 with a GPU, an equal "
        "part of this machine's cores without.",
        examples=[4],
    )
    dtype: Literal["auto", "bf16", "fp32"] = Field(
        default="auto",
        description="What products are computed in; weights are fp32 always. `auto` is bf16 where the hardware has "
        "it, else fp32.",
    )
    token_budget: int | None = Field(
        default=None,
        ge=64,
        description="Tokens in one pack, which is one forward pass. Not set: 65,536 with a GPU, 8,192 without.",
        examples=[16384],
    )
    wait: Duration = Field(
        default=600.0,
        description="How long to wait for room on the cluster, where other jobs or an autoscaler may still make some, "
        "before exit code 75; in seconds.",
        examples=["30min"],
    )

    @property
    def device(self) -> DeviceKind:
        """What is computed on."""
        return "cuda" if self.num_gpus else "cpu"


class OutputSettings(Settings):
    """The checkpoint folder that training makes."""

    folder: Name = Field(
        description="The checkpoint folder to write: a local one, on a cluster one that every worker sees. What a run "
        "needs to go on after a crash lies beside it.",
        examples=["out/topics"],
    )
    dtype: Literal["fp32", "fp16"] = Field(
        default="fp32", description="What the weights are stored as; fp16 takes half the space."
    )
    state_every_s: Positive = Field(
        default=120.0, description="Seconds between two states that are kept: the most work that a kill costs."
    )

    @property
    def path(self) -> Path:
        return Path(self.folder).absolute()


class TrainJob(Settings):
    """One training job: a labelled corpus in, a checkpoint folder out."""

    corpus: LabelledCorpusSettings
    output: OutputSettings
    validation: LabelledCorpusSettings | None = Field(
        default=None, description="A corpus of its own that chooses the epoch. Not set: documents of `corpus` validate."
    )
    test: LabelledCorpusSettings | None = Field(
        default=None,
        description="A corpus of its own that is measured once, at the end. Not set: documents of `corpus` in the "
        "split `splits.test`.",
    )
    splits: SplitSettings = SplitSettings()
    checkpoint: CheckpointSettings | None = Field(
        default=None, description="The checkpoint to start from; this, or `init`."
    )
    init: InitSettings | None = Field(
        default=None, description="Sizes of a new encoder, to start from scratch; this, or `checkpoint`."
    )
    head: HeadSettings | None = Field(
        default=None, description="A new head. Not set: the checkpoint's own head is trained on."
    )
    pretraining: PretrainingSettings | None = Field(
        default=None,
        description="A phase before, on text without labels, that trains the encoder to guess hidden words.",
    )
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
