"""A small labelled corpus that a small model learns in seconds, the job that trains it, and training without Ray."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from pipeline.cluster.trainer import make_run
from pipeline.config.train import TrainJob
from pipeline.training.prepare import prepare
from pipeline.training.result import finish
from pipeline.training.run import TrainingRun, work
from pipeline.training.workers import Workers

WORDS = {
    "rook": ["caw", "nest", "tower", "flock", "croak", "stubble", "field", "elm"],
    "tern": ["sea", "dive", "fish", "gull", "shore", "wave", "cliff", "salt"],
}
COMMON = [
    "the",
    "bird",
    "and",
    "its",
    "wings",
    "over",
    "a",
    "grey",
    "morning",
    "sky",
    "were",
    "seen",
    "by",
    "two",
    "people",
    "near",
    "old",
    "stones",
]
LENGTHS = (20, 400)  # words of a document, about as many tokens: some have several windows


def write(path: Path, documents: int = 48, **fields: Any) -> Path:
    """Documents of either label, a sixth of them each for validation and test; `fields` go over each record."""
    random = np.random.default_rng(1)
    with path.open("w") as file:
        for number in range(documents):
            label = list(WORDS)[number % 2]
            length = int(random.integers(*LENGTHS))
            words = random.choice(WORDS[label] + COMMON * 2, length)
            split = {0: "validation", 1: "test"}.get(number // 2 % 6, "train")
            record = {"id": str(number), "text": " ".join(words), "label": label, "split": split}
            file.write(json.dumps(record | fields) + "\n")
    return path


def job(uri: Path, folder: Path, **sections: dict[str, Any] | None) -> TrainJob:
    """`sections` are merged into the job's, or removed from it where they are None."""
    tree: dict[str, Any] = {
        "corpus": {"uris": str(uri), "id_column": "id", "label_column": "label", "split_column": "split"},
        "output": {"folder": str(folder)},
        "init": {
            "vocabulary": 60,
            "hidden_size": 16,
            "layers": 1,
            "heads": 2,
            "intermediate_size": 16,
            "max_positions": 128,
            "block_size": 16,
            "random_blocks": 1,
        },
        "training": {
            "epochs": 4,
            "tokens_per_step": 512,
            "learning_rate": 0.02,
            "dropout": 0.0,
            "windows": "all",
            "seed": 3,
        },
        "head": {"pooling": "mean", "kind": "linear"},
        "compute": {"dtype": "fp32", "num_cpus": 1, "token_budget": 256},
    }
    for name, section in sections.items():
        if section is None:
            tree.pop(name, None)
        else:
            tree[name] = tree.get(name, {}) | section
    return TrainJob.model_validate(yaml.safe_load(yaml.safe_dump(tree)), strict=False)


def train(made: TrainJob) -> tuple[TrainingRun, dict[str, Any], list[dict[str, Any]]]:
    """Trains to the end; the run, its scores and what it reported."""
    run = make_run(made, prepare(made))
    reports: list[dict[str, Any]] = []
    work(run, Workers(), reports.append)
    return run, finish(run), reports


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")
