from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BigBirdConfig, BigBirdModel
from typer.testing import CliRunner

from jobs.cli import app
from jobs.sample import FOLDER
from pipeline.checkpoints.folder import CheckpointFolder
from tests.checkpoint_folders import TINY

SAMPLE = FOLDER / "checkpoint"


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bigbird = BigBirdModel(BigBirdConfig(**TINY | {"vocab_size": 8000}))
        self.classifier = nn.Linear(64, 2)


def saved(path: Path, change: dict[str, Tensor] | None = None) -> Path:
    model = Classifier()
    model.bigbird.config.save_pretrained(path)
    torch.save(model.state_dict() | (change or {}), path / "best.pt")
    return path / "best.pt"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


TOLD = ("--tokenizer", SAMPLE, "--problem-type", "multi_label", "--labels", "politics,sports")


def test_what_was_recognised_and_written_is_told(tmp_path: Path) -> None:
    target = tmp_path / "imported"
    result = run(saved(tmp_path), target, "--pooling", "mean", *TOLD)
    assert result.exit_code == 0, result.output
    for line in (
        "recognised  BigBirdModel as 'bigbird.', classifier as classifier",
        "imported    classification: pooling mean, head linear, multi_label",
        "labels      politics, sports",
        f"written     {target}",
    ):
        assert line in result.stdout
    folder = CheckpointFolder.open(target)
    assert folder.head.labels == ("politics", "sports")
    assert folder.spiece
    assert folder.spiece.read_bytes() == (SAMPLE / "spiece.model").read_bytes()


def test_layers_are_named_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    second = {"mood.weight": torch.zeros(3, 64), "mood.bias": torch.zeros(3)}
    weights = saved(tmp_path, second | {"loss_fn.pos_weight": torch.ones(2)})
    told = ("--pooling", "mean", *TOLD)
    assert "--linear classifier; --linear mood" in str(run(weights, tmp_path / "a", *told).exception)
    result = run(weights, tmp_path / "a", *told, "--linear", "classifier", "--encoder", "bigbird")
    assert "recognised  BigBirdModel as 'bigbird.', classifier as classifier" in result.stdout
    assert "left out    loss_fn.pos_weight, mood.weight, mood.bias" in result.stdout


def test_an_adapter_is_called_that_before_anything_is_missed(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    for source in (tmp_path, tmp_path / "adapter_model.safetensors"):
        assert "adapter (LoRA)" in str(run(source, tmp_path / "imported").exception)


def test_an_import_that_lacks_something_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "imported"
    assert "give --pooling" in str(run(saved(tmp_path), target, *TOLD).exception)
    surplus = saved(tmp_path, {"adapter.weight": torch.zeros(1)})
    assert "adapter.weight" in str(run(surplus, target, "--pooling", "mean", *TOLD).exception)
    assert run(tmp_path / "nothing.pt", target).exit_code == 2
    assert not target.exists()
