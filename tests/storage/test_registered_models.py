"""Checkpoints of a model registry, by MLflow's own client on its file store."""

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from jobs.sample import CHECKPOINT
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.config.label import Job, parse_job
from pipeline.errors import CheckpointError, ConfigError, RookeryError, StorageError
from pipeline.planning.plan import make_plan
from pipeline.storage import registered_models
from pipeline.storage.objects import Storage
from pipeline.tables.publish import publish
from tests.checkpoint_folders import random_transformers_model, save_folder
from tests.labelling import label_here
from tests.several import fresh_checkpoint, lines


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty registry, which the environment names."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/registry")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the cache of checkpoints
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        yield MlflowClient()


def register(registry: Any, source: str | Path, alias: str | None = None) -> str:
    if not registry.search_registered_models():
        registry.create_registered_model("topics")
    version = str(registry.create_model_version("topics", source=str(source)).version)
    if alias:
        registry.set_registered_model_alias("topics", alias, version)
    return version


def job(folder: Path, uri: str) -> Job:
    if not (folder / "corpus").exists():
        (folder / "corpus").mkdir()
        (folder / "corpus" / "a.jsonl").write_bytes(lines([("one", "a proposal"), ("two", "another")]))
    return parse_job("", [f"corpus.uris={folder}/corpus", f"checkpoint.uri={uri}", f"table.uri={folder}/table"])


def test_an_alias_is_resolved_when_the_run_is_planned(registry: Any, tmp_path: Path):
    """The plan keeps the version that it found, whatever the alias names before the work is done."""
    register(registry, CHECKPOINT)
    register(registry, CHECKPOINT, "champion")
    plan = make_plan(job(tmp_path, "mlflow:models:/topics@champion"))
    register(registry, fresh_checkpoint(tmp_path / "fresh", 1), "champion")
    label_here(plan)
    manifest = publish(plan.snapshots, plan.fragments, plan.publication, {})
    assert manifest.checkpoint["uri"] == "mlflow:models:/topics/2"
    assert manifest.checkpoint["weights_digest"] == CheckpointFolder.open(CHECKPOINT).weights_digest()
    assert plan.scoring.checkpoint_folder == f"file://{CHECKPOINT}", "workers ask no registry"

    moved = make_plan(job(tmp_path, "mlflow:models:/topics@champion"))
    assert moved.publication.checkpoint["uri"] == "mlflow:models:/topics/3"
    assert moved.scoring.key != plan.scoring.key
    pinned = make_plan(job(tmp_path, "mlflow:models:/topics/2"))
    assert (list(pinned.missing), pinned.publication) == ([], plan.publication)


def test_what_a_run_logged(registry: Any, tmp_path: Path):
    run = registry.create_run(registry.create_experiment("night", artifact_location=f"{tmp_path}/artifacts"))
    registry.log_artifacts(run.info.run_id, str(CHECKPOINT), "model")
    uri = f"mlflow:runs:/{run.info.run_id}/model"
    expected = tmp_path / "artifacts" / run.info.run_id / "artifacts" / "model"
    assert Storage().fetch_folder(uri) == expected
    register(registry, f"runs:/{run.info.run_id}/model")
    assert Storage().fetch_folder("mlflow:models:/topics/1") == expected


def test_files_in_a_store_are_read_by_our_storage(registry: Any):
    memory = fsspec.filesystem("memory")
    memory.put(f"{CHECKPOINT}/", "registered/bird/", recursive=True)
    register(registry, "memory://registered/bird")
    pinned = Storage().pinned_checkpoint("mlflow:models:/topics/1")
    assert pinned == ("mlflow:models:/topics/1", "memory://registered/bird")
    check_same(Storage().fetch_folder(pinned.folder))


def test_files_that_only_mlflow_reaches_are_copied_by_it_once(
    registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Here a folder of this machine stands for such a store."""
    source = Path(shutil.copytree(CHECKPOINT, tmp_path / "source"))
    shutil.copytree(CHECKPOINT, source / "source")  # as the folder that MLflow makes
    register(registry, source)
    monkeypatch.setattr(registered_models, "THROUGH_MLFLOW", (str(tmp_path),))
    pinned = Storage().pinned_checkpoint("mlflow:models:/topics/1")
    assert pinned == ("mlflow:models:/topics/1", "mlflow:models:/topics/1")
    copy = Storage().fetch_folder(pinned.folder)
    check_same(copy)
    assert {path.name for path in copy.iterdir()} == {path.name for path in source.iterdir()}
    assert capfd.readouterr() == ("", "")
    shutil.rmtree(source)
    assert Storage().fetch_folder(pinned.folder) == copy


@pytest.mark.parametrize("store", ["local", "memory"])
def test_a_model_of_the_transformers_flavor(registry: Any, tmp_path: Path, store: str):
    from mlflow.transformers import save_model
    from transformers import AutoTokenizer, pipeline

    model = random_transformers_model(vocab_size=8000)
    plain = save_folder(model, tmp_path / "plain", spiece=CHECKPOINT / "spiece.model")
    tokenizer = AutoTokenizer.from_pretrained(plain)
    logged = pipeline("text-classification", model=model, tokenizer=tokenizer)
    save_model(logged, str(tmp_path / "logged"), pip_requirements=[])
    source = str(tmp_path / "logged")
    if store == "memory":
        source = "memory://registered/logged"
        fsspec.filesystem("memory").put(f"{tmp_path}/logged/", "registered/logged/", recursive=True)
    register(registry, source, "champion")
    found = CheckpointFolder.open(Storage().fetch_folder("mlflow:models:/topics@champion"))
    assert found.weights_digest() == CheckpointFolder.open(plain).weights_digest()
    assert found.tokenizer_json is not None


def check_same(folder: Path) -> None:
    found, expected = CheckpointFolder.open(folder), CheckpointFolder.open(CHECKPOINT)
    assert found.weights_digest() == expected.weights_digest()
    assert found.tokenizer_digest() == expected.tokenizer_digest()


@pytest.mark.parametrize(
    ("uri", "kind", "message"),
    [
        (
            "mlflow:models:/topics@nobody",
            CheckpointError,
            "MLflow says: Registered model alias nobody not found.*; name",
        ),
        ("mlflow:models:/crows@champion", CheckpointError, "Registered Model with name=crows not found; name a model "),
        ("mlflow:models:/topics/9", CheckpointError, r"Model Version \(name=topics, version=9\) not found; name a mod"),
        ("mlflow:runs:/0123456789abcdef0123456789abcdef/model", CheckpointError, "MLflow says: Run '0123.* not found"),
        (
            "mlflow:models:/topics/Production",
            ConfigError,
            "expected mlflow:models:/name@alias, mlflow:models:/name/vers",
        ),
        ("mlflow:topics", ConfigError, "expected mlflow:models:/name@alias"),
        (
            "mlflow:models:/topics@empty",
            CheckpointError,
            "mlflow:models:/topics/2: .*/nothing: is not a folder; expect",
        ),
        (
            "mlflow:models:/topics@pickle",
            CheckpointError,
            "topics/3: .* config.json is missing; found MLmodel, data: f",
        ),
    ],
)
def test_what_can_not_be_used_says_what_to_do(
    registry: Any, tmp_path: Path, uri: str, kind: type[RookeryError], message: str
):
    register(registry, CHECKPOINT)
    register(registry, tmp_path / "nothing", "empty")
    (tmp_path / "pickle" / "data").mkdir(parents=True)
    (tmp_path / "pickle" / "MLmodel").write_text("flavors: {pytorch: {}}")
    register(registry, tmp_path / "pickle", "pickle")
    with pytest.raises(kind, match=message):
        make_plan(job(tmp_path, uri))


def test_a_registry_that_does_not_answer(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StorageError, match=r"MLflow says: API request to http://127\.0\.0\.1:9.*; run again"):
        make_plan(job(tmp_path, "mlflow:models:/topics@champion"))


def test_a_registry_that_this_mlflow_can_not_open(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://registry")
    with pytest.raises(ConfigError, match=r"MLflow can't use MLFLOW_TRACKING_URI or MLFLOW_REGISTRY_URI: .*nowhere"):
        make_plan(job(tmp_path, "mlflow:models:/topics@champion"))


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"needs MLflow \(.*\): pip install"):
        make_plan(job(tmp_path, "mlflow:models:/topics@champion"))


def test_it_says_nothing_and_tells_nobody(registry: Any, tmp_path: Path):
    """In a process of its own, where warnings are errors and nothing looks like a test."""
    register(registry, CHECKPOINT, "champion")
    program = (
        "from pipeline.storage.objects import Storage\n"
        "import sys\n"
        "assert 'mlflow' not in sys.modules\n"
        "Storage().fetch_folder('mlflow:models:/topics@champion')\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "assert get_telemetry_client() is None\n"
    )
    unlike_tests = {name: value for name, value in os.environ.items() if name.startswith(("MLFLOW_", "PATH", "HOME"))}
    unlike_tests.pop("MLFLOW_DISABLE_TELEMETRY")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=Path(__file__).parents[2],
        env=unlike_tests,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
