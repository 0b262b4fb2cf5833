"""Checkpoints, and jobs of one corpus for them, for tests of runs with several."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.bigbird.classifier import Classifier
from pipeline.checkpoints.config import read_encoder, read_head
from pipeline.checkpoints.json_file import JsonFile
from pipeline.checkpoints.names import save
from pipeline.config.label import Job
from pipeline.config.label_file import LabelFile
from pipeline.config.loader import parse_settings
from pipeline.text.vocabulary import train_vocabulary

VOCABULARY = 400


def fresh_checkpoint(path: Path, seed: int, spiece: bytes | None = None) -> Path:
    """A checkpoint of the sample's shape with random weights; with the sample's vocabulary or another of 400 pieces."""
    source = JsonFile.read(CHECKPOINT / "config.json")
    encoder = read_encoder(source)
    if spiece:
        encoder = replace(encoder, vocab_size=VOCABULARY)
    save(Classifier.fresh(encoder, read_head(source, JsonFile(path, {})), seed=seed), path)
    (path / "spiece.model").write_bytes(spiece or (CHECKPOINT / "spiece.model").read_bytes())
    return path


@cache
def other_vocabulary() -> bytes:
    texts = pq.read_table(CORPUS / "test.parquet")["text"].to_pylist()
    return train_vocabulary(((str(number), text) for number, text in enumerate(texts)), VOCABULARY)


def three_checkpoints(folder: Path) -> dict[str, Path]:
    """Two that share a vocabulary, and one that has its own."""
    return {
        "sample": Path(shutil.copytree(CHECKPOINT, folder / "sample")),
        "same": fresh_checkpoint(folder / "same", 1),
        "other": fresh_checkpoint(folder / "other", 2, other_vocabulary()),
    }


def label_file(folder: Path, checkpoints: dict[str, Path], tables: str, *overrides: str) -> LabelFile:
    """A file with checkpoints, which have tables of their names below the folder `tables`."""
    listed = [{"uri": str(path), "table": f"{folder}/{tables}/{name}"} for name, path in checkpoints.items()]
    tree = {
        "corpus": {"uris": f"{folder}/corpus/*", "id_column": "id"},
        "checkpoints": listed,
        "units": {"text_bytes": 3000},
        "compute": {"dtype": "fp32", "num_cpus": 1},
        "max_errors": 0.5,
    }
    return parse_settings(LabelFile, yaml.safe_dump(tree), list(overrides), "job")


def several_jobs(folder: Path, checkpoints: dict[str, Path], tables: str, *overrides: str) -> list[Job]:
    return label_file(folder, checkpoints, tables, *overrides).jobs


def files_below(folder: Path) -> dict[str, bytes]:
    """Every object of a table but the records of its runs; manifests without what only says which run made them."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "_runs" not in path.parts)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    for name in [name for name in files if name.startswith("_snapshots/") and name.endswith(".json")]:
        files[name] = json.dumps(json.loads(files[name]) | {"run": None}).encode()
    return files


def lines(documents: Iterable[tuple[str, str | None]]) -> bytes:
    return "".join(json.dumps({"id": id_, "text": text}) + "\n" for id_, text in documents).encode()
