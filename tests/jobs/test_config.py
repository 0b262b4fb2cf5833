import json
from pathlib import Path

import yaml
from typer.testing import CliRunner

from jobs.cli import app
from jobs.sample import FOLDER

JOB_FILE = str(FOLDER / "job.yaml")


def test_schema_is_json_schema():
    result = CliRunner().invoke(app, ["config", "--schema"])
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    assert schema["required"] == ["corpus"]
    assert [set(one["required"]) for one in schema["oneOf"]] == [{"checkpoint", "table"}, {"checkpoints"}]


def test_a_job_file_with_every_default_filled_in():
    result = CliRunner().invoke(app, ["config", "--config", JOB_FILE, "--set", "table.buckets=3"])
    shown = yaml.safe_load(result.stdout)
    assert shown["table"] == {"uri": "out/sample", "partition_by": [], "buckets": 3, "undo_rollback": False}
    assert shown["compute"]["dtype"] == "auto"


def test_what_is_shown_is_a_job_file(tmp_path: Path):
    shown = CliRunner().invoke(app, ["config", "--config", JOB_FILE]).stdout
    (tmp_path / "job.yaml").write_text(shown)
    assert CliRunner().invoke(app, ["config", "--config", str(tmp_path / "job.yaml")]).stdout == shown


def test_files_of_the_other_commands():
    required = {}
    for command in ("train", "evaluate"):
        shown = CliRunner().invoke(app, ["config", "--for", command, "--schema"])
        required[command] = set(json.loads(shown.stdout)["required"])
    assert required["train"] == {"corpus", "output"}
    assert {"corpus", "checkpoint", "evaluation"} <= required["evaluate"]
    path = str(FOLDER / "train.yaml")
    shown = CliRunner().invoke(app, ["config", "--for", "train", "--config", path])
    assert yaml.safe_load(shown.stdout)["training"]["patience"] is None
    wrong = CliRunner().invoke(app, ["config", "--config", path])
    assert "output: unknown key" in str(wrong.exception)


def test_neither_a_schema_nor_a_file():
    result = CliRunner().invoke(app, ["config"])
    assert result.exit_code == 2
    assert "--schema" in result.output
