"""The job file: one strict YAML, typed.

Precedence: defaults here < the file < `--set path=value` on the command line. An unknown key, a wrong type or a missing
field is a ConfigError that names the path, the value and what was expected. Settings that a checkpoint may bring with
it (the window policy) default to None here, which means "as the checkpoint says".
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from pipeline.errors import ConfigError

SIZE_UNITS = {
    "": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}

DURATION_UNITS = {"s": 1, "min": 60, "h": 3600}
MAX_DOCUMENT_BYTES = 256 * 2**20
# Of all documents. More than one in a hundred is no longer a fault of documents, but of the corpus, the job file or the
# checkpoint, and a table without them is wrong in silence. Warehouses' own loaders allow none by default; a corpus of
# real documents has some bad ones, which should not hold back the others.
MAX_ERRORS = 0.01


def _size(value: object) -> object:
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", value.strip().lower()) if isinstance(value, str) else None
    if match and match[2] in SIZE_UNITS:
        return int(match[1]) * SIZE_UNITS[match[2]]
    if isinstance(value, str):
        raise ValueError("expected a number of bytes such as 16000000, 16MB or 16MiB")
    return value


def _duration(value: object) -> object:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", value.strip().lower()) if isinstance(value, str) else None
    if match and match[2] in DURATION_UNITS:
        return float(match[1]) * DURATION_UNITS[match[2]]
    if isinstance(value, str):
        raise ValueError("expected a duration such as 90s, 10min or 1h")
    return value


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _count_or_share(value: object) -> object:
    """A count stays an int and a share becomes a float: `1` is one document, `1.0` and `100%` are all of them."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip()) if isinstance(value, str) else None
    if match:
        value = float(Decimal(match[1]) / 100)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    is_share = isinstance(value, float) and 0 <= value <= 1
    if not is_count and not is_share:
        raise ValueError("expected a count of documents such as 10, or a share of them such as 1% or 0.01")
    return value


Kind = TypeVar("Kind", bound=BaseModel)
Name = Annotated[str, Field(min_length=1)]
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=int | str), Field(gt=0)]
Duration = Annotated[  # in seconds
    float,
    BeforeValidator(_duration, json_schema_input_type=float | str),
    Field(ge=0, allow_inf_nan=False),
]
Names = Annotated[tuple[Name, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
DuplicateIds = Literal["refuse", "keep"]
Percent = Annotated[str, Field(pattern=r"^\s*\d+(\.\d+)?\s*%\s*$")]
CountOrShare = Annotated[
    int | float,
    BeforeValidator(_count_or_share, json_schema_input_type=Count | Share | Percent),
]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CorpusSettings(Settings):
    """What to label."""

    uris: Annotated[Names, Field(min_length=1)] = Field(
        description="Files, folders of one format, Delta tables, or globs (`**` crosses folders); local paths or any "
        "fsspec scheme. One, or a list.",
        examples=["s3://my-corpus/**/*.parquet", ["documents/2024", "documents/2025"]],
    )
    format: Literal["auto", "parquet", "jsonl", "csv", "text"] = Field(
        default="auto",
        description="The files' format. `auto` goes by their endings. Another one takes those files of a folder that "
        "have its ending, or all of them where not one has.",
    )
    id_column: Name | None = Field(
        default=None,
        description="The column with a document's id. Without one, a document's id is its file's URI and row.",
        examples=["id"],
    )
    text_column: Name = Field(
        default="text",
        description="The column with a document's text; not used for plain text files.",
        examples=["body"],
    )
    carry: Names | None = Field(
        default=None,
        description="Hive keys of the corpus's paths (`year=2024/`) to carry into the table; by default every one "
        "found.",
        examples=[["year", "collection"]],
    )
    max_document_bytes: Size = Field(
        default=MAX_DOCUMENT_BYTES,
        le=2**30,
        description="The largest document that is read, in bytes. A larger one becomes an error and is not held in "
        "memory; of Parquet a page is decoded whole before anybody knows how long its values are.",
        examples=["64MiB"],
    )
    duplicate_ids: DuplicateIds = Field(
        default="refuse",
        description="What `rookery label` does where several documents have one id: `refuse` publishes nothing and "
        "shows ten of them, `keep` publishes them all, for readers who go by `source_uri` and `source_position`.",
    )


class LabelledCorpusSettings(CorpusSettings):
    """Documents of which somebody says what they are."""

    label_column: Name = Field(
        description="Where the label is: a column, or a hive key of the paths. A label is a string, a list of strings "
        "(multi-label) or a number (regression).",
        examples=["topic"],
    )
    split_column: Name | None = Field(
        default=None,
        description="Where a document's split is said, such as train or test: a column, or a hive key of the paths.",
        examples=["split"],
    )
    unlabelled: Literal["refuse", "skip", "keep"] = Field(
        default="refuse",
        description="What becomes of documents whose label is null, empty or an empty list. `refuse` ends the run, "
        "`skip` leaves them out; with `keep` an empty list says that none of several labels applies, and the "
        "others are refused.",
    )


class CheckpointSettings(Settings):
    """What labels it."""

    uri: Name = Field(
        description="The checkpoint: a folder (local or any fsspec scheme) or a model hub's `owner/name`.",
        examples=["s3://my-models/bigbird-topics", "google/bigbird-roberta-base"],
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
    long_documents: Literal["windows", "head", "head_tail"] | None = Field(
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
    aggregation: Literal["mean", "max", "first"] | None = Field(
        default=None,
        description="How the logits of a document's windows become the document's: their `mean`, weighted by tokens, "
        "their `max`, or those of the `first` window. Not set: as the checkpoint says, else `mean`.",
        examples=["mean"],
    )


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("expected values that differ from each other")
    return values


class TaskSettings(Settings):
    """What the checkpoint's head can't know. The head decides the task, and which of these it has."""

    questions: Annotated[Names, AfterValidator(_distinct)] = Field(
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
    partition_by: Annotated[Names, AfterValidator(_distinct)] = Field(
        default=(),
        description="Hive keys of the corpus that the table is partitioned by, in this order; the others become "
        "columns.",
        examples=[["collection"]],
    )
    buckets: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Data files per partition at most, for fewer and larger ones. Not set: a file holds 64 units at "
        "most, which bounds the memory of a publishing task.",
        examples=[16],
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
    dtype: Literal["auto", "bf16", "fp32", "int8"] = Field(
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
    max_errors: CountOrShare = Field(
        default=MAX_ERRORS,
        description="Publish nothing if more documents than this could not be labelled: a count such as 10, or a "
        "share such as 0.1%. The default is 1%, because more is seldom the documents' fault but the corpus's, "
        "this file's or the checkpoint's; 100% allows any, as long as one document has a prediction.",
        examples=["0.1%", 10],
    )

    @model_validator(mode="after")
    def _partition_keys_are_carried(self) -> "Job":
        carried, keys = self.corpus.carry, self.table.partition_by
        if carried is not None and not set(keys) <= set(carried):
            raise ValueError(f"table.partition_by {list(keys)} must be among corpus.carry {list(carried)}")
        return self


class EvaluationSettings(Settings):
    """Which documents measure the checkpoint, and where the figures go."""

    output: Name = Field(
        description="The folder for metrics.json and report.html, local or any fsspec scheme.",
        examples=["out/evaluation"],
    )
    test: Name = Field(default="test", description="The split that is measured, as `corpus.split_column` calls it.")
    validation: Name = Field(
        default="validation", description="The split that `--fit` fits, as `corpus.split_column` calls it."
    )


class EvaluationJob(Job):
    """One evaluation: the job that would label this corpus, and the labels that it should give."""

    # the validator below gives a table where there is none, which an editor should know
    model_config = ConfigDict(json_schema_extra=lambda schema: cast(list[str], schema["required"]).remove("table"))

    corpus: LabelledCorpusSettings
    evaluation: EvaluationSettings

    @model_validator(mode="before")
    @classmethod
    def _table_below_the_output(cls, tree: Any) -> Any:
        """The table keeps the logits, so that nothing is computed twice; a job file that labels has one already."""
        evaluation = tree.get("evaluation")
        output = evaluation.get("output") if isinstance(evaluation, dict) else None
        return {"table": {"uri": f"{output}/table"}} | tree


def load_job(path: Path, overrides: list[str] | None = None) -> Job:
    """Reads a labelling job's file. Raises ConfigError."""
    return load_settings(Job, path, overrides or [])


def parse_job(text: str, overrides: list[str], source: str = "job file") -> Job:
    """Job file text and `path=value` overrides -> Job. Raises ConfigError."""
    return parse_settings(Job, text, overrides, source)


def load_settings(kind: type[Kind], path: Path, overrides: list[str]) -> Kind:
    """Reads a job's file of any kind. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"job file {path}: cannot be read ({error}); give an existing YAML file to --config"
        ) from error
    return parse_settings(kind, text, overrides, str(path))


def parse_settings(kind: type[Kind], text: str, overrides: list[str], source: str) -> Kind:
    """Text and `path=value` overrides -> settings of a kind. Raises ConfigError."""
    try:
        tree = yaml.load(text, _Loader) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        *keys, last = (name for name, field in kind.model_fields.items() if field.is_required())
        raise ConfigError(f"{source}: expected keys such as {', '.join(keys)} and {last}, found {type(tree).__name__}")
    for override in overrides:
        _override(tree, override)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{source}:\n" + "\n".join(_explain(kind, e) for e in error.errors())) from error


class _Loader(yaml.SafeLoader):
    """YAML takes the last of two equal keys in silence; a job file with two corpora is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key!r} is there twice",
                    problem_mark=node.value[number][0].start_mark,
                )
        return super().construct_mapping(node, deep)


def _override(tree: dict[str, Any], override: str) -> None:
    path, separator, value = override.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {override!r}: expected path=value, for example --set table.uri=s3://bucket/table")
    *sections, key = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is a value in the job file, not a section")
    try:
        tree[key] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML: {error}") from error


def _explain(kind: type[BaseModel], error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"]) or "job"
    if error["type"] == "missing":
        return f"  {path}: missing; it is required"
    if error["type"] == "extra_forbidden":
        section = _section(kind, error["loc"][:-1])
        return f"  {path}: unknown key (value {error['input']!r}); expected one of {', '.join(section.model_fields)}"
    if error["type"] == "model_type":
        section = _section(kind, error["loc"])
        return f"  {path}: expected a section with {', '.join(section.model_fields)} (got {error['input']!r})"
    return f"  {path}: {error['msg'].removeprefix('Value error, ')} (got {error['input']!r})"


def _section(kind: type[BaseModel], loc: tuple[Any, ...]) -> type[BaseModel]:
    for part in loc:
        annotation = kind.model_fields[part].annotation
        models = [a for a in (annotation, *get_args(annotation)) if _is_model(a)]
        kind = models[0]
    return kind


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
