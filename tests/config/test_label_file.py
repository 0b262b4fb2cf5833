"""A labelling job's file with several checkpoints: a job for each, and clear words for what can't be."""

import jsonschema
import pytest
import yaml

from pipeline.config.label import parse_job
from pipeline.config.label_file import LabelFile
from pipeline.config.loader import parse_settings
from pipeline.errors import ConfigError

CORPUS = "corpus: {uris: c}\n"
ONE = "checkpoint: {uri: a}\ntable: {uri: t}\n"
SEVERAL = "checkpoints: [{uri: a, table: t}, {uri: b, table: u}]\n"


def read(text: str, *overrides: str) -> LabelFile:
    return parse_settings(LabelFile, CORPUS + text, list(overrides), "job.yaml")


def test_a_job_for_each_checkpoint_with_all_other_settings():
    file = read(SEVERAL + "table: {buckets: 3}\nmax_errors: 5\ngates: {min_agreement: 90%}")
    expected = [
        parse_job(CORPUS + f"checkpoint: {{uri: {uri}}}\ntable: {{uri: {table}, buckets: 3}}\nmax_errors: 5", gates)
        for uri, table, gates in (("a", "t", ["gates.min_agreement=0.9"]), ("b", "u", ["gates.min_agreement=0.9"]))
    ]
    assert file.jobs == expected
    assert {type(job) for job in file.jobs} == {type(expected[0])}


def test_a_file_with_one_checkpoint_is_the_job_that_it_was():
    assert read(ONE).jobs == [parse_job(CORPUS + ONE, [])]
    assert read(ONE).model_dump() == parse_job(CORPUS + ONE, []).model_dump()


@pytest.mark.parametrize("text", [ONE, SEVERAL, SEVERAL + "table: {partition_by: [day]}\n"])
def test_what_is_shown_of_it_is_such_a_file_and_the_schema_takes_it(text: str):
    shown = read(text).model_dump(mode="json")
    assert parse_settings(LabelFile, yaml.safe_dump(shown), [], "job.yaml") == read(text)
    jsonschema.validate(shown, LabelFile.model_json_schema())
    jsonschema.validate(yaml.safe_load(CORPUS + text), LabelFile.model_json_schema())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SEVERAL + ONE,
            "job: expected checkpoint and table.uri, or checkpoints, of which each has a table; found both",
        ),
        (
            SEVERAL + "publish: {delta: {uri: d}}",
            "job: publish can't go with checkpoints, whose tables can't share a lake table",
        ),
        (SEVERAL + "table: {uri: t}", "job: expected checkpoint and table.uri, or checkpoints, of which each has a t"),
        ("checkpoints: [{uri: a}]", "checkpoints.0.table: missing; it is required"),
        ("checkpoints: [{table: t}]", "checkpoints.0.uri: missing; it is required"),
        ("checkpoints: [{uri: a, table: t, dtype: x}]", "checkpoints.0.dtype: unknown key (value 'x'); expected one o"),
        ("checkpoints: [a, b]", "checkpoints.0: expected a section with uri, table (got 'a')"),
        ("checkpoints: []", "checkpoint: missing; it is required"),
        (SEVERAL + "table: {buckets: 0}", "table.buckets: Input should be greater than or equal to 1 (got 0)"),
        ("table: {uri: t}", "checkpoint: missing; it is required"),
    ],
)
def test_what_is_neither_one_nor_several_is_refused(text: str, message: str):
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert str(refused.value).startswith(f"job.yaml:\n  {message}")


@pytest.mark.parametrize("text", [SEVERAL + ONE, "table: {uri: t}\n", "checkpoint: {uri: a}\ntable: {buckets: 1}\n"])
def test_the_schema_refuses_it_too(text: str):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(CORPUS + text), LabelFile.model_json_schema())


def test_they_can_be_set_on_the_command_line():
    assert [job.table.uri for job in read("", "checkpoints=[{uri: a, table: t}]").jobs] == ["t"]
