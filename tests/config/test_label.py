"""The job file is strict: whatever it does not understand it refuses, by path, value and expectation."""

import re
from pathlib import Path
from typing import Any, get_origin

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from pipeline.config.label import ComputeSettings, Job, load_job, parse_job
from pipeline.config.values import Settings
from pipeline.errors import ConfigError

GOOD = """
corpus: {uris: s3://bucket/corpus/}
checkpoint: {uri: google/bigbird-roberta-base}
table: {uri: s3://bucket/table}
"""


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_job(text, list(overrides), source="job.yaml")
    return str(refused.value)


def test_the_smallest_job_file_is_filled_with_defaults() -> None:
    job = parse_job(GOOD, [])
    assert job.corpus.uris == ("s3://bucket/corpus/",)
    assert job.corpus.format == "auto"
    assert (job.corpus.id_column, job.corpus.text_column, job.corpus.carry) == (None, ("text",), None)
    assert job.corpus.text_separator == "\n\n"
    assert (job.table.buckets, job.table.partition_by) == (None, ())
    assert (job.units.text_bytes, job.units.wave) == (16_000_000, 10_000)
    assert (job.compute.actors, job.compute.num_gpus, job.compute.dtype) == (1, 0, "auto")
    assert job.ray.address is None
    assert (job.max_errors, job.corpus.duplicate_ids) == (0.01, "refuse")


def test_text_settings_default_to_the_checkpoints_own() -> None:
    assert set(parse_job(GOOD, []).text.model_dump().values()) == {None}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nope.x=1", "  nope: unknown key (value {'x': 1}); expected one of corpus, checkpoint, "),
        ("ray.adress=auto", "  ray.adress: unknown key (value 'auto'); expected one of address"),
        ("corpus.uris=[]", "  corpus.uris: Value should have at least 1 item"),
        ("corpus.uris=[a, 1]", "  corpus.uris.1: Input should be a valid string (got 1)"),
        ("corpus.uris=''", "  corpus.uris.0: String should have at least 1 character (got '')"),
        ("table.uri=''", "  table.uri: String should have at least 1 character (got '')"),
        ("corpus.format=unknown", "  corpus.format: Input should be 'auto', 'parquet', 'jsonl', "),
        ("corpus.id_column=7", "  corpus.id_column: Input should be a valid string (got 7)"),
        ("corpus.text_column=[]", "  corpus.text_column: Value should have at least 1 item"),
        ("text.max_tokens=8", "  text.max_tokens: Input should be greater than or equal to 16 "),
        ("text.max_tokens='512'", "  text.max_tokens: Input should be a valid integer (got '512')"),
        ("text.overlap=-1", "  text.overlap: Input should be greater than or equal to 0 (got -1)"),
        ("text.overlap=1.5", "  text.overlap: Input should be a valid integer (got 1.5)"),
        ("table.buckets=true", "  table.buckets: Input should be a valid integer (got True)"),
        ("table.buckets=5000", "  table.buckets: Input should be less than or equal to 4096 "),
        ("units.wave=0", "  units.wave: Input should be greater than or equal to 1 (got 0)"),
        ("compute.dtype=fp16", "  compute.dtype: Input should be 'auto', 'bf16', 'fp32' or 'int8' "),
        ("compute.num_gpus='1'", "  compute.num_gpus: Input should be a valid number (got '1')"),
        ("compute.num_gpus=true", "  compute.num_gpus: Input should be a valid number (got True)"),
        ("compute.num_gpus=.inf", "  compute.num_gpus: Input should be a finite number (got inf)"),
        ("storage.anonymous=1", "  storage.anonymous: Input should be a valid boolean (got 1)"),
        ("text=", "  text: expected a section with max_tokens, long_documents, overlap, aggreg"),
        (
            "tags.cost-center=a",
            "  tags: expected names of letters, digits and _, as metrics take them; 'cost-center' is",
        ),
        ("ray=auto", "  ray: expected a section with address (got 'auto')"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(override: str, message: str) -> None:
    assert refusal(GOOD, override).startswith(f"job.yaml:\n{message}")


@pytest.mark.parametrize("path", ["corpus", "corpus.uris", "checkpoint.uri", "table.uri"])
def test_a_missing_field_is_named(path: str) -> None:
    tree = yaml.safe_load(GOOD)
    section, _, key = path.partition(".")
    del (tree[section] if key else tree)[key or section]
    assert refusal(yaml.safe_dump(tree)) == f"job.yaml:\n  {path}: missing; it is required"


def test_every_fault_is_told_at_once() -> None:
    told = refusal(GOOD, "text.overlap=-1", "compute.actors=none", "bogus=1").splitlines()
    assert [line.split(":")[0] for line in told[1:]] == ["  text.overlap", "  compute.actors", "  bogus"]


def test_a_key_that_is_no_string_is_refused() -> None:
    assert "  text.1: Keys should be strings (got 1)" in refusal(GOOD + "text: {1: 2}")


def test_the_pool_must_not_shrink_below_its_start() -> None:
    told = refusal(GOOD, "compute.actors=3", "compute.max_actors=2")
    assert "compute: max_actors must be at least actors (3)" in told


def test_a_partition_key_must_be_carried() -> None:
    assert "expected values that differ" in refusal(GOOD, "table.partition_by=[day, day]")
    told = refusal(GOOD, "corpus.carry=[day]", "table.partition_by=lang")
    assert "table.partition_by ['lang'] must be among corpus.carry ['day']" in told


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("16000000", 16_000_000),
        ("16MB", 16_000_000),
        ("16 mb", 16_000_000),
        ("16MiB", 16_777_216),
        ("3kB", 3_000),
        ("1KiB", 1_024),
        ("2GB", 2_000_000_000),
        ("1gib", 1_073_741_824),
        ("'7'", 7),
    ],
)
def test_sizes_have_units(size: str, expected: int) -> None:
    assert parse_job(GOOD, [f"units.text_bytes={size}"]).units.text_bytes == expected


@pytest.mark.parametrize("size", ["1.5MB", "lots", "16MBs", "-16MB", "MB"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    told = refusal(GOOD, f"units.text_bytes={size}")
    assert f"units.text_bytes: expected a number of bytes such as 16000000, 16MB or 16MiB (got '{size}')" in told


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90s", 90), ("10min", 600), ("10 MIN", 600), ("1.5h", 5400), ("0s", 0), ("90", 90), ("0.5", 0.5)],
)
def test_durations_have_units(written: str, seconds: float) -> None:
    assert parse_job(GOOD, [f"storage.retry={written}"]).storage.retry == seconds


@pytest.mark.parametrize("written", ["soon", "10m", "-1s", "'10'", "1h30min", "s"])
def test_a_duration_that_is_none_is_refused(written: str) -> None:
    told = refusal(GOOD, f"storage.retry={written}")
    assert "storage.retry: expected a duration such as 90s, 10min or 1h (got " in told


@pytest.mark.parametrize("written", ["-1", "true", ".inf", "[1]"])
def test_a_duration_is_a_number_of_seconds_from_zero_on(written: str) -> None:
    assert "storage.retry: Input should be" in refusal(GOOD, f"storage.retry={written}")


@pytest.mark.parametrize("size", ["0", "-1", "0MB"])
def test_a_size_is_above_zero(size: str) -> None:
    assert "units.text_bytes: Input should be greater than 0" in refusal(GOOD, f"units.text_bytes={size}")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0", 0),
        ("10", 10),
        ("1", 1),
        ("1.0", 1.0),
        ("0.01", 0.01),
        ("1%", 0.01),
        ("0.1 %", 0.001),
        ("'29%'", 0.29),
        ("100%", 1.0),
    ],
)
def test_max_errors_is_a_count_or_a_share(written: str, expected: float) -> None:
    found = parse_job(GOOD, [f"max_errors={written}"]).max_errors
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "written",
    ["abc", "", "-1", "'10'", "150%", "-1%", "1.5", "-0.1", ".nan", "true", "[1]", "{}", "1%%"],
)
def test_max_errors_that_is_neither_is_refused(written: str) -> None:
    told = refusal(GOOD, f"max_errors={written}")
    expected = "expected a count of documents such as 10, or a share of them such as 1% or 0.01"
    assert told == f"job.yaml:\n  max_errors: {expected} (got {yaml.safe_load(written)!r})"


@pytest.mark.parametrize("value", [0, 10, 0.01, 1.0, "1%", "0.5 %"])
def test_the_schema_accepts_max_errors(value: object) -> None:
    jsonschema.validate(yaml.safe_load(GOOD) | {"max_errors": value}, Job.model_json_schema())


@pytest.mark.parametrize("value", [-1, 1.5, "10", "abc", True, [], None])
def test_the_schema_refuses_max_errors(value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD) | {"max_errors": value}, Job.model_json_schema())


def test_set_overrides_the_file_in_order() -> None:
    job = parse_job(GOOD, ["table.uri=a", "table.uri=b", "compute.num_gpus=1", "text.overlap=64"])
    assert (job.table.uri, job.compute.num_gpus, job.text.overlap) == ("b", 1.0, 64)


@pytest.mark.parametrize(
    ("override", "uris"),
    [
        ("corpus.uris=[a, b]", ("a", "b")),
        ("corpus.uris=a", ("a",)),
        ("corpus.uris=s3://b/day=1/", ("s3://b/day=1/",)),
    ],
    ids=["list", "one", "with an equals sign"],
)
def test_set_takes_yaml_values(override: str, uris: tuple[str, ...]) -> None:
    assert parse_job(GOOD, [override]).corpus.uris == uris


def test_set_without_a_value_unsets() -> None:
    assert parse_job(GOOD + "text: {overlap: 9}", ["text.overlap="]).text.overlap is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("table.uri", "--set 'table.uri': expected path=value"),
        ("=3", "--set '=3': expected path=value"),
        ("corpus.uris.x=3", "--set 'corpus.uris.x=3': 'uris' is a value in the job file"),
        ("table.uri=[a", "--set 'table.uri=[a': the value is not valid YAML"),
    ],
    ids=["no value", "no path", "below a value", "not YAML"],
)
def test_a_bad_override_is_refused(override: str, message: str) -> None:
    assert refusal(GOOD, override).startswith(message)


@pytest.mark.parametrize(("text", "found"), [("- a\n- b", "list"), ("just words", "str"), ("3", "int")])
def test_yaml_that_is_no_mapping_is_refused(text: str, found: str) -> None:
    assert refusal(text) == f"job.yaml: expected keys such as corpus, checkpoint and table, found {found}"


def test_an_empty_file_lists_what_is_required() -> None:
    assert refusal("").count("missing; it is required") == 3


def test_broken_yaml_is_refused() -> None:
    assert refusal("corpus: [").startswith("job.yaml: not valid YAML: ")


def test_a_job_file_is_read_with_its_overrides(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(GOOD)
    assert load_job(tmp_path / "job.yaml", ["table.buckets=4"]).table.buckets == 4


@pytest.mark.parametrize("content", [None, b"corpus: \xff"], ids=["missing", "not UTF-8"])
def test_an_unreadable_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "job.yaml"
    if content:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"job.yaml: cannot be read \(.*; give an existing YAML"):
        load_job(path)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_job(GOOD, []).compute.actors = 2


def test_the_resolved_job_parses_to_itself() -> None:
    overrides = ["units.text_bytes=1MB", "compute.num_gpus=0.5", "corpus.carry=[a, b]"]
    job = parse_job(GOOD, [*overrides, "max_errors=0.1%"])
    assert parse_job(yaml.safe_dump(job.model_dump(mode="json")), []) == job


def test_the_schema_accepts_a_good_file() -> None:
    tree = yaml.safe_load(GOOD) | {"units": {"text_bytes": "16MB"}, "text": {"overlap": None}}
    jsonschema.validate(tree, Job.model_json_schema())


@pytest.mark.parametrize(
    "section",
    [
        {"bogus": {}},
        {"text": {"max_tokens": "512"}},
        {"corpus": {"uris": 3}},
        {"compute": {"dtype": "fp16"}},
        {"table": {}},
    ],
    ids=lambda section: next(iter(section)),
)
def test_the_schema_refuses_a_bad_file(section: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD) | section, Job.model_json_schema())


def _sections() -> dict[str, type[BaseModel]]:
    fields = {name: field.annotation for name, field in Job.model_fields.items()}
    return {name: a for name, a in fields.items() if isinstance(a, type) and not get_origin(a)}


@pytest.mark.parametrize(
    "name", [name for name in Job.model_fields if name not in ("max_errors", "deduplicate", "price", "tags")]
)
def test_every_field_has_a_place_in_the_schema(name: str) -> None:
    model, definitions = _sections()[name], Job.model_json_schema()["$defs"]
    assert issubclass(model, Settings)
    assert set(definitions[model.__name__]["properties"]) == set(model.model_fields)
    assert definitions[model.__name__]["additionalProperties"] is False


def test_settings_made_in_code_are_as_strict() -> None:
    with pytest.raises(ValueError, match="max_actors must be at least actors"):
        ComputeSettings(actors=2, max_actors=1)


def test_a_key_that_is_there_twice_is_refused():
    text = "corpus: {uris: a}\ncheckpoint: {uri: b}\ntable: {uri: c}\ncorpus: {uris: d}\n"
    with pytest.raises(ConfigError, match="the key 'corpus' is there twice"):
        parse_job(text, [])


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("tabel.uri=x", "table"),
        ("corpus.uri=x", "corpus.uris"),
        ("compute.nun_gpus=1", "compute.num_gpus"),
        ("id_column=x", "corpus.id_column"),  # spelled so in another section
        ("compute.address=auto", "ray.address"),
    ],
)
def test_a_key_that_is_nearly_right_is_named(override: str, meant: str):
    with pytest.raises(ConfigError, match=rf"; expected one of .*; did you mean {re.escape(meant)}\?$"):
        parse_job(GOOD, [override])


def test_a_key_that_nothing_is_near_is_not_guessed():
    with pytest.raises(ConfigError) as refused:
        parse_job(GOOD, ["qqq=1"])
    assert "did you mean" not in str(refused.value)


def test_a_job_file_that_is_nearly_named_so_is_found(tmp_path: Path):
    (tmp_path / "job.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"give an existing YAML file to --config; did you mean job.yaml\?"):
        load_job(tmp_path / "jop.yaml")


def test_what_is_wrong_with_the_yaml_is_placed_in_the_file():
    with pytest.raises(ConfigError, match=r"in job file, line 2, column 1") as refused:
        parse_job("corpus:\n\turis: x\n", [])
    assert "unicode string" not in str(refused.value)
