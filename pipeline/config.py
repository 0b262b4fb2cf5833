"""The job file: one strict YAML, typed.

Precedence: defaults here < the file < `--set path=value` on the command line. An unknown key, a wrong type or a missing
field is a ConfigError that names the path, the value and what was expected. Settings that a checkpoint may bring with
it (the window policy) default to None here, which means "as the checkpoint says".
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

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
        description="Files, folders of one format, Delta tables, or globs (`**` crosses folders); local paths or any fsspec scheme."
    )
    format: Literal["auto", "parquet", "jsonl", "csv", "text"] = Field(
        default="auto",
        description="`auto` goes by the file's ending. Another one takes those files of a folder that have its ending, or all where not one has.",
    )
    id_column: Name | None = Field(default=None, description="Without one, a document's id is its file's URI and row.")
    text_column: Name = Field(default="text", description="Not used for plain text files.")
    carry: Names | None = Field(
        default=None,
        description="Hive partition keys of the corpus to carry into the table; by default every one found.",
    )
    max_document_bytes: Size = Field(
        default=MAX_DOCUMENT_BYTES,
        le=2**30,
        description="A larger document becomes an error and is not held in memory; of Parquet a page is decoded whole before "
        "anybody knows how long its values are.",
    )
    duplicate_ids: DuplicateIds = Field(
        default="refuse",
        description="What `rookery label` does where several documents have one id: publish nothing and show ten of them, or "
        "`keep` them all, for readers who go by `source_uri` and `source_position`.",
    )


class LabelledCorpusSettings(CorpusSettings):
    """Documents of which somebody says what they are."""

    label_column: Name = Field(
        description="A string, a list of strings (multi-label) or a number (regression): a column, or a hive key."
    )
    split_column: Name | None = Field(
        default=None, description="Says which split a document is in: a column, or a hive key."
    )
    unlabelled: Literal["refuse", "skip", "keep"] = Field(
        default="refuse",
        description="What becomes of documents whose label is null, empty or an empty list; `keep`: an empty list says that "
        "none of several labels applies, and the others are refused.",
    )


class CheckpointSettings(Settings):
    """What labels it."""

    uri: Name = Field(description="A folder (local or any fsspec scheme) or a model hub's `owner/name`.")


class TextSettings(Settings):
    """How a document becomes windows; unset fields are the checkpoint's own, then the defaults named here."""

    max_tokens: int | None = Field(
        default=None,
        ge=16,
        description="Tokens of a window with [CLS] and [SEP]; default: the checkpoint's limit.",
    )
    long_documents: Literal["windows", "head", "head_tail"] | None = Field(
        default=None,
        description="What becomes of a document longer than one window; default `windows`.",
    )
    overlap: int | None = Field(default=None, ge=0, description="Tokens that neighbouring windows share; default 128.")
    aggregation: Literal["mean", "max", "first"] | None = Field(
        default=None,
        description="How a document's window logits become one; default `mean`, weighted by tokens.",
    )


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("expected values that differ from each other")
    return values


class TaskSettings(Settings):
    """What the checkpoint's head can't know. The head decides the task, and which of these it has."""

    questions: Annotated[Names, AfterValidator(_distinct)] = Field(
        default=(), description="Question answering: asked of every document; at least one."
    )
    no_answer_threshold: float = Field(
        default=0.0,
        allow_inf_nan=False,
        description="Question answering: a document has no answer where the logit of having none is more than this above the "
        "best answer's, as in SQuAD 2; a large number always answers.",
    )
    min_score: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Token classification: entities with a lower score are left out.",
    )


class TableSettings(Settings):
    """Where predictions go."""

    uri: Name = Field(description="The table's folder.")
    partition_by: Annotated[Names, AfterValidator(_distinct)] = Field(
        default=(),
        description="Hive keys of the corpus that the table is partitioned by, in this order.",
    )
    buckets: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Data files per partition at most, for fewer and larger ones; default: one per 64 units at most, "
        "which bounds the memory of a publishing task.",
    )


class UnitSettings(Settings):
    """How the work is cut."""

    text_bytes: Size = Field(
        default=16_000_000,
        description="Text in one unit, about: the unit of work, retry and memory.",
    )
    wave: int = Field(
        default=10_000,
        ge=1,
        description="Units handed to Ray at a time; bounds the driver's memory.",
    )


class ComputeSettings(Settings):
    """What the encoder runs on."""

    actors: int = Field(default=1, ge=1, description="Encoder actors; with max_actors, the fewest.")
    max_actors: int | None = Field(default=None, description="Let the pool grow to this many while work waits.")
    num_gpus: float = Field(default=0, ge=0, allow_inf_nan=False, description="GPUs per actor; 0 computes on CPU.")
    num_cpus: int | None = Field(
        default=None,
        ge=1,
        description="CPU threads per actor, each of which computes a pack of its own; default: 1 with a GPU, an equal part of "
        "this machine's cores without.",
    )
    dtype: Literal["auto", "bf16", "fp32", "int8"] = Field(
        default="auto",
        description="`auto`: bf16 where the hardware multiplies it, fp32 elsewhere. int8 is for CPUs: faster, less exact.",
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

    @model_validator(mode="after")
    def _pool(self) -> "ComputeSettings":
        if self.max_actors is not None and self.max_actors < self.actors:
            raise ValueError(f"max_actors must be at least actors ({self.actors})")
        return self


class StorageSettings(Settings):
    """How stores are reached: s3:// beside the standard AWS variables and profiles."""

    endpoint_url: str | None = Field(default=None, description="For S3-compatible stores.")
    region: str | None = None
    profile: str | None = Field(default=None, description="A profile of the AWS configuration files.")
    anonymous: bool = Field(default=False, description="Send unsigned requests: public buckets.")
    retry: Duration = Field(
        default=60.0,
        description="How long a store that does not answer, or asks for patience, is waited for, such as 90s or 10min.",
    )


class RaySettings(Settings):
    """Which cluster."""

    address: str | None = Field(
        default=None,
        description="A cluster's address, or `auto`; unset: RAY_ADDRESS, else Ray in this process, on loopback.",
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
        description="Publish nothing if more documents than this could not be labelled: a count such as 10, or a share "
        "such as 0.1%. The default is 1%, because more is seldom the documents' fault but the corpus's, this file's or the "
        "checkpoint's; 100% allows any, as long as one document has a prediction.",
    )

    @model_validator(mode="after")
    def _partition_keys_are_carried(self) -> "Job":
        carried, keys = self.corpus.carry, self.table.partition_by
        if carried is not None and not set(keys) <= set(carried):
            raise ValueError(f"table.partition_by {list(keys)} must be among corpus.carry {list(carried)}")
        return self


class EvaluationSettings(Settings):
    """Which documents measure the checkpoint, and where the figures go."""

    output: Name = Field(description="Folder for metrics.json and report.html, local or any store.")
    test: Name = Field(default="test", description="The split that is measured.")
    validation: Name = Field(default="validation", description="The split that `--fit` fits.")


class EvaluationJob(Job):
    """One evaluation: the job that would label this corpus, and the labels that it should give."""

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
