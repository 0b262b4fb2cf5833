import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.errors import CheckpointError

CONFIG = {"model_type": "big_bird", "id2label": {"0": "rook", "1": "crow"}}


def make(path: Path, files: dict[str, Any] | None = None) -> Path:
    """A folder whose large files hold nothing of use: opening it must not read them."""
    path.mkdir(parents=True)
    default = {"config.json": CONFIG, "model.safetensors": "weights", "spiece.model": "pieces"}
    for name, content in (default | (files or {})).items():
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (path / name).write_text(text, encoding="utf-8")
    return path


def names(folder: CheckpointFolder) -> list[str]:
    return [file.name for file in folder.weight_files]


def test_a_folder_as_transformers_writes_it(tmp_path: Path) -> None:
    folder = CheckpointFolder.open(make(tmp_path / "a"))
    assert folder.head.labels == ("rook", "crow")
    assert folder.decision.thresholds == {}
    assert names(folder) == ["model.safetensors"]
    assert folder.spiece == tmp_path / "a" / "spiece.model"
    assert folder.tokenizer_json is None


def test_rookery_json_is_read(tmp_path: Path) -> None:
    rookery = {
        "labels": ["a", "b"],
        "thresholds": {"b": 0.6},
        "windows": {"overlap": 64},
    }
    folder = CheckpointFolder.open(make(tmp_path / "a", {"rookery.json": rookery}))
    assert folder.head.labels == ("a", "b")
    assert folder.decision.thresholds == {"b": 0.6}
    assert folder.windows.overlap == 64


SHARDS = {"weight_map": {"x": "shard-2", "y": "shard-1", "z": "shard-2"}}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pytorch_model.bin": "weights"}, ["model.safetensors"]),
        ({"model.safetensors": None, "pytorch_model.bin": "weights"}, ["pytorch_model.bin"]),
        (
            {"model.safetensors": None, "model.safetensors.index.json": SHARDS},
            ["shard-1", "shard-2"],
        ),
        (
            {"model.safetensors": None, "pytorch_model.bin.index.json": SHARDS},
            ["shard-1", "shard-2"],
        ),
    ],
    ids=["safetensors first", "bin", "safetensors shards", "bin shards"],
)
def test_weight_files(tmp_path: Path, files: dict[str, Any], expected: list[str]) -> None:
    path = make(tmp_path / "a", files | {"shard-1": "1", "shard-2": "2"})
    assert names(CheckpointFolder.open(path)) == expected


def test_tokenizer_json_alone_is_enough(tmp_path: Path) -> None:
    folder = CheckpointFolder.open(make(tmp_path / "a", {"spiece.model": None, "tokenizer.json": "{}"}))
    assert folder.spiece is None
    assert folder.tokenizer_json == tmp_path / "a" / "tokenizer.json"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": None}, "config.json is missing; found model.safetensors, spiece.model"),
        ({"model.safetensors": None}, "model.safetensors or pytorch_model.bin is missing; found"),
        ({"spiece.model": None}, r"spiece.model \(or tokenizer.json\) is missing; found"),
        (
            {"model.safetensors": None, "model.safetensors.index.json": SHARDS},
            "shard-1 is missing; found",
        ),
        (
            {
                "model.safetensors": None,
                "model.safetensors.index.json": {"weight_map": {"x": "../secret"}},
            },
            "expected files in the same folder",
        ),
        ({"config.json": "{"}, "config.json: cannot be read as JSON"),
        ({"config.json": []}, "config.json: expected a JSON object, found list"),
        ({"rookery.json": {"treshold": 1}}, "rookery.json: unknown key 'treshold'; expected"),
    ],
    ids=[
        "no config",
        "no weights",
        "no tokenizer",
        "no shard",
        "shard elsewhere",
        "not JSON",
        "no object",
        "unknown key",
    ],
)
def test_an_incomplete_folder_is_refused(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        CheckpointFolder.open(make(tmp_path / "a", files))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: is not a folder"):
        CheckpointFolder.open(tmp_path / "nowhere")


def digests(path: Path) -> tuple[str, str]:
    folder = CheckpointFolder.open(path)
    return folder.weights_digest(), folder.tokenizer_digest()


def test_digests_are_the_same_elsewhere(tmp_path: Path) -> None:
    path = make(tmp_path / "a")
    shutil.copytree(path, tmp_path / "somewhere" / "else")
    assert digests(tmp_path / "somewhere" / "else") == digests(path)


def test_digests_are_the_same_tomorrow(tmp_path: Path) -> None:
    """Literal, because every fragment that was ever computed hangs on them."""
    weights, tokenizer = digests(make(tmp_path / "a"))
    assert weights == "bb0b9f06c9cd84ff2f6f20b52c9d140672e09c6f079062115ccd8e9e80119a1b"
    assert tokenizer == "8c61e892b568c7edd9a2d946a91b4e0c06702f12e6c3754d12123ac72add40c5"


@pytest.mark.parametrize(
    ("files", "weights_change", "tokenizer_changes"),
    [
        ({"model.safetensors": "weighty"}, True, False),
        ({"spiece.model": "piece."}, False, True),
        ({"tokenizer.json": "{}"}, False, True),
        ({"config.json": CONFIG | {"hidden_act": "gelu"}}, True, False),
        ({"config.json": CONFIG | {"id2label": {"0": "rook", "1": "raven"}}}, False, False),
        ({"config.json": CONFIG | {"transformers_version": "4.0"}}, False, False),
        ({"rookery.json": {"thresholds": {"rook": 0.1, "crow": 0.2}}}, False, False),
        ({"rookery.json": {"temperature": 2.0}}, False, False),
        ({"rookery.json": {"windows": {"overlap": 1}}}, False, False),
        ({"training_documents.parquet": "digests"}, False, False),
    ],
    ids=[
        "one byte of the weights",
        "one byte of the tokenizer",
        "second tokenizer",
        "activation",
        "label",
        "key without meaning",
        "thresholds",
        "temperature",
        "windows",
        "training documents",
    ],
)
def test_what_changes_digests(
    tmp_path: Path, files: dict[str, Any], weights_change: bool, tokenizer_changes: bool
) -> None:
    weights, tokenizer = digests(make(tmp_path / "a"))
    other_weights, other_tokenizer = digests(make(tmp_path / "b", files))
    assert (other_weights != weights) == weights_change
    assert (other_tokenizer != tokenizer) == tokenizer_changes


def test_a_folder_is_read_without_torch() -> None:
    script = "import sys, pipeline.checkpoints.folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
