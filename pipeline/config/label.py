"""The job file of `rookery label`.

Settings that a checkpoint may bring with it (the window policy) default to None here: "as the checkpoint says".
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.corpus import CorpusSettings
from pipeline.config.gates import GateSettings
from pipeline.config.lakes import PublishSettings
from pipeline.config.loader import load_settings, parse_settings
from pipeline.config.values import CountOrShare, Duration, Name, Names, Settings, Size, Tags, distinct
from pipeline.terms import Aggregation, DeviceKind, Dtype, LongDocuments

# Of all documents. More than one in a hundred is no longer a fault of documents, but of the corpus, the job file or the
# checkpoint, and a table without them is wrong in silence. Warehouses' own loaders allow none by default; a corpus of
# real documents has some bad ones, which should not hold back the others.
MAX_ERRORS = 0.01


class CheckpointSettings(Settings):
    """What labels it."""

    uri: Name = Field(
        description="The checkpoint: a folder (local or any fsspec scheme), a model hub's `owner/name`, or a version "
        "of an MLflow registry.",
        examples=["s3://my-models/bigbird-topics", "google/bigbird-roberta-base", "mlflow:models:/topics@champion"],
    )


class TextSettings(Settings):
    """How a document becomes windows; unset fields are the checkpoint's own, then the defaults named here."""

    max_tokens: int | None = Field(
        default=None,
        ge=16,
        description="Tokens of a window, [CLS] and [SEP] among them. Not set: what the checkpoint's `rookery.json` "
        "says, else the most that the encoder has positions for.",
        examples=[4096],
    )
    long_documents: LongDocuments | None = Field(
        default=None,
        description="What becomes of a document longer than one window: `windows` reads all of it in several, `head` "
        "its beginning, `head_tail` its beginning and its end. Not set: as the checkpoint says, else `windows`.",
        examples=["windows"],
    )
    overlap: int | None = Field(
        default=None,
        ge=0,
        description="Tokens that neighbouring windows share. Not set: as the checkpoint says, else 128, or an eighth "
        "of a window where that is less.",
        examples=[128],
    )
    aggregation: Aggregation | None = Field(
        default=None,
        description="How the logits of a document's windows become the document's: their `mean`, weighted by tokens, "
        "their `max`, or those of the `first` window. Not set: as the checkpoint says, else `mean`.",
        examples=["mean"],
    )


class TaskSettings(Settings):
    """What the checkpoint's head can't know. The head decides the task, and which of these it has."""

    questions: Annotated[Names, AfterValidator(distinct)] = Field(
        default=(),
        description="Question answering: the questions that are asked of every document; at least one.",
        examples=[["Who wrote it?", "Which version is it for?"]],
    )
    no_answer_threshold: float = Field(
        default=0.0,
        allow_inf_nan=False,
        description="Question answering: a document has no answer where the logit of having none is more than this "
        "above the best answer's, as in SQuAD 2; a large number always answers.",
    )
    min_score: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Token classification: entities with a lower score are left out of the table; another value needs "
        "no new scoring.",
        examples=[0.8],
    )


class TableSettings(Settings):
    """Where predictions go."""

    uri: Name = Field(
        description="The table's folder, local or any fsspec scheme; it is made where there is none.",
        examples=["s3://my-tables/topics"],
    )
    partition_by: Annotated[Names, AfterValidator(distinct)] = Field(
        default=(),
        description="What the table is partitioned by, in this order: hive keys of the corpus, columns of "
        "`corpus.columns`, or a part of the date in one: `year(published_at)`, `month(…)`, `day(…)`. Other hive keys "
        "become columns.",
        examples=[["collection"], ["month(published_at)"]],
    )
    buckets: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Data files per partition at most, for fewer and larger ones. Not set: a file holds 64 units at "
        "most, which bounds the memory of a publishing task.",
        examples=[16],
    )
    undo_rollback: bool = Field(
        default=False,
        description="Whether a run may publish again what `rookery rollback` has undone: the same content, or anything "
        "under the scoring and decision keys of the snapshots that were undone. If not, it ends with exit code 6 "
        "before it computes anything.",
    )


class UnitSettings(Settings):
    """How the work is cut."""

    text_bytes: Size = Field(
        default=16_000_000,
        description="About how much text one unit holds, in bytes: the unit of work, of retry and of memory.",
        examples=["16MB"],
    )
    wave: int = Field(
        default=10_000,
        ge=1,
        description="Units that are handed to Ray at a time, which bounds the driver's memory.",
    )


class ComputeSettings(Settings):
    """What the encoder runs on."""

    actors: int = Field(
        default=1,
        ge=1,
        description="Encoder actors, each of which holds the model once; with `max_actors`, the fewest.",
    )
    max_actors: int | None = Field(
        default=None,
        description="The most encoder actors: the pool grows to this many while work waits. Not set: as many as "
        "`actors`.",
        examples=[8],
    )
    num_gpus: float = Field(
        default=0, ge=0, allow_inf_nan=False, description="GPUs per actor; 0 computes on CPU.", examples=[1]
    )
    num_cpus: int | None = Field(
        default=None,
        ge=1,
        description="CPU threads per actor, each of which computes a pack of its own. Not set: 1 with a GPU, an equal "
        "part of this machine's cores without.",
        examples=[4],
    )
    dtype: Literal["auto", Dtype] = Field(
        default="auto",
        description="What products are computed in. `auto` is bf16 where the hardware multiplies it, fp32 elsewhere; "
        "`int8` is for CPUs: faster, less exact.",
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

    @model_validator(mode="after")
    def _pool(self) -> "ComputeSettings":
        if self.max_actors is not None and self.max_actors < self.actors:
            raise ValueError(f"max_actors must be at least actors ({self.actors})")
        return self

    @property
    def device(self) -> DeviceKind:
        """What is computed on."""
        return "cuda" if self.num_gpus else "cpu"


class StorageSettings(Settings):
    """How stores are reached: s3:// beside the standard AWS variables and profiles."""

    endpoint_url: str | None = Field(
        default=None,
        description="The address of an S3-compatible store that is not AWS.",
        examples=["https://s3.example.com"],
    )
    region: str | None = Field(
        default=None,
        description="The store's region. Not set: as the AWS variables and profiles say.",
        examples=["eu-central-1"],
    )
    profile: str | None = Field(
        default=None, description="The profile of the AWS configuration files to take.", examples=["corpus-reader"]
    )
    anonymous: bool = Field(default=False, description="Send requests without a signature, for public buckets.")
    retry: Duration = Field(
        default=60.0,
        description="How long a store that does not answer, or asks for patience, is waited for before exit code 75; "
        "in seconds.",
        examples=["10min"],
    )


class RaySettings(Settings):
    """Which cluster."""

    address: str | None = Field(
        default=None,
        description="A Ray cluster's address, or `auto` for the one that this machine belongs to. Not set: the "
        "environment's RAY_ADDRESS, else Ray in this process, on loopback.",
        examples=["auto"],
    )


class BudgetSettings(Settings):
    """What one run may cost at most. The first that is spent ends it at a unit's end, with exit code 7.

    All that was labelled is kept, and nothing is published: the next run goes on.
    """

    usd: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Dollars, by `price` and the hours of the encoder actors.",
        examples=[25],
    )
    actor_hours: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Hours of all encoder actors together.", examples=[8]
    )
    tokens: int | None = Field(default=None, gt=0, description="Tokens that are computed.", examples=[1000000000])
    minutes: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Minutes since the run's start.", examples=[240]
    )


class Job(Settings):
    """One labelling job: make the table true for this corpus and this checkpoint."""

    corpus: CorpusSettings
    checkpoint: CheckpointSettings
    table: TableSettings
    text: TextSettings = TextSettings()
    task: TaskSettings = TaskSettings()
    units: UnitSettings = UnitSettings()
    compute: ComputeSettings = ComputeSettings()
    storage: StorageSettings = StorageSettings()
    ray: RaySettings = RaySettings()
    publish: PublishSettings = PublishSettings()
    deduplicate: bool = Field(
        default=False,
        description="Compute documents of one run that have the same text once. The table is the same, byte for byte; "
        "every file is read once more before anything is computed.",
    )
    gates: GateSettings = GateSettings()
    budget: BudgetSettings = BudgetSettings()
    price: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Dollars for an hour of one encoder actor and what it runs on, for estimates, costs and "
        "`budget.usd`.",
        examples=[2.5],
    )
    tags: Tags = Field(
        default={},
        description="Who pays, which team, which environment: words that travel into the run's summary, the manifest "
        "and the labels of its metrics.",
        examples=[{"cost_center": "4711", "team": "search"}],
    )
    max_errors: CountOrShare = Field(
        default=MAX_ERRORS,
        description="Publish nothing if more documents than this could not be labelled: a count such as 10, or a "
        "share such as 0.1%. The default is 1%, because more is seldom the documents' fault but the corpus's, "
        "this file's or the checkpoint's; 100% allows any, as long as one document has a prediction.",
        examples=["0.1%", 10],
    )

    @model_validator(mode="after")
    def _dollars_need_a_price(self) -> "Job":
        if self.budget.usd is not None and not self.price:
            raise ValueError("budget.usd needs price, the dollars for an hour of one encoder actor")
        return self

    @model_validator(mode="after")
    def _partition_keys_are_carried(self) -> "Job":
        carried = self.corpus.carry
        keys = [key for key in self.table.partition_by if key not in self.corpus.columns and "(" not in key]
        if carried is not None and not set(keys) <= set(carried):
            raise ValueError(f"table.partition_by {keys} must be among corpus.carry {list(carried)}, or corpus.columns")
        return self


def load_job(path: Path, overrides: list[str] | None = None) -> Job:
    """Reads a labelling job's file. Raises ConfigError."""
    return load_settings(Job, path, overrides or [])


def parse_job(text: str, overrides: list[str], source: str = "job file") -> Job:
    """Job file text and `path=value` overrides -> Job. Raises ConfigError."""
    return parse_settings(Job, text, overrides, source)
