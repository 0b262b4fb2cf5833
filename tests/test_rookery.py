"""The Python API, beside what the command publishes."""

import doctest
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import pipeline.errors
import rookery
from jobs.cli import app
from jobs.sample import CHECKPOINT, CORPUS


def job(folder: Path) -> dict[str, object]:
    return {
        "corpus": {"uris": f"{folder}/corpus/*/*.parquet", "id_column": "id"},
        "checkpoint": {"uri": str(CHECKPOINT)},
        "table": {"uri": f"{folder}/table", "partition_by": ["part"]},
        "compute": {"dtype": "fp32"},
        "max_errors": 1,
    }


@pytest.mark.ray
def test_plan_label_open_and_score_agree(ray: None, tmp_path: Path):
    rows = pq.read_table(CORPUS / "test.parquet", columns=["id", "text"]).slice(0, 8).to_pylist()
    rows[3]["text"] = " "
    folder = tmp_path / "corpus" / "part=a%20b"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "documents.parquet")
    planned = rookery.plan(job(tmp_path))
    assert (planned.files, planned.units, planned.missing_units, planned.current_snapshot) == (1, 1, 1, None)

    summary = rookery.label(job(tmp_path))
    assert (summary.documents, summary.predictions, summary.errors) == (8, 7, 1)
    assert rookery.plan(job(tmp_path)).current_snapshot == summary.snapshot
    assert rookery.label(job(tmp_path)) == summary

    for table in (rookery.open_table(f"{tmp_path}/table"), rookery.open_table(f"{tmp_path}/table", summary.snapshot)):
        published = {row["id"]: row for row in table.to_table().to_pylist()}
        assert {row["part"] for row in published.values()} == {"a b"}
    with pytest.raises(rookery.InputError, match=r"has no snapshot 9; found \[1\]"):
        rookery.open_table(f"{tmp_path}/table", 9)

    scored = rookery.score(CHECKPOINT, [row["text"] for row in rows], ["compute.dtype=fp32"])
    assert scored["reason"].to_pylist() == [None] * 3 + ["empty_text"] + [None] * 4
    names = set(scored.schema.names) - {"stage", "reason", "message"}
    for row, found in zip(rows, scored.to_pylist(), strict=True):
        if row["id"] in published:  # to the bit: one unit there is one call here
            assert {n: found[n] for n in names} == {n: published[row["id"]][n] for n in names}
    assert len(published) == pc.sum(pc.is_null(scored["reason"])).as_py()


def test_texts_without_any_prediction():
    scored = rookery.score(CHECKPOINT, [None, "\n"])
    assert scored["reason"].to_pylist() == ["null_text", "empty_text"]
    assert scored["label"].to_pylist() == [None, None]
    assert rookery.score(CHECKPOINT, []).schema == scored.schema


def test_importing_loads_neither_torch_nor_ray():
    code = "import sys, rookery; print(sorted({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_error_is_one_of_the_api():
    errors = {name for name, kind in vars(pipeline.errors).items() if isinstance(kind, type)}
    assert errors <= set(rookery.__all__)
    assert all(getattr(rookery, name) is getattr(pipeline.errors, name) for name in errors)
    assert all(hasattr(rookery, name) for name in rookery.__all__)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda: rookery.plan({"corpus": {"uris": "x"}}), "checkpoint: missing"),
        (lambda: rookery.plan({"corpus": Path("x")}), "expected strings, numbers"),
        (lambda: rookery.label("no-such.yaml"), "cannot be read"),
        (lambda: rookery.plan({}, limit=0), "limit 0: expected at least 1|missing"),
    ],
)
def test_a_wrong_job_is_a_config_error(asked, message: str):
    with pytest.raises(rookery.ConfigError, match=message):
        asked()


def test_a_folder_without_a_snapshot(tmp_path: Path):
    with pytest.raises(rookery.InputError, match="has no complete snapshot; found none"):
        rookery.open_table(str(tmp_path))


def test_the_examples_of_the_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    attempted = doctest.testmod(rookery)
    assert (attempted.failed, attempted.attempted >= 10) == (0, True)


def test_one_version():
    assert rookery.__version__ == version("rookery")
    assert CliRunner().invoke(app, ["--version"]).stdout == f"rookery {version('rookery')}\n"
    shown = CliRunner().invoke(app, ["version"]).stdout
    assert shown.startswith(f"rookery {version('rookery')}  (scoring version ")
    assert f"torch {version('torch')}" in shown
