"""Weights that others wrote -> a checkpoint folder of ours: what `rookery import` does."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import torch

from pipeline.added_tokens import SPIECE, TOKENIZER_JSON
from pipeline.atomic import written_beside
from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.model_config import HeadConfig
from pipeline.checkpoints.config import ARCHITECTURES, read_encoder, read_head
from pipeline.checkpoints.folder import (
    WEIGHTS,
    CheckpointFolder,
    refuse_adapter,
    rookery_settings,
    tokenizer_files,
    weight_files,
)
from pipeline.checkpoints.json_file import JsonFile
from pipeline.checkpoints.names import fill, refuse_other_weights, save
from pipeline.checkpoints.recognition import Named, Recognised, recognise
from pipeline.checkpoints.weights import Stored, read_all
from pipeline.errors import ConfigError
from pipeline.terms import PoolingKind, ProblemType

# Files of a training run that hold no weights of the model; training_args.bin is a pickle, and never loaded.
_OF_TRAINING = ("optimizer*", "scheduler*", "scaler*", "rng_state*", "training_args.bin")
WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True, slots=True)
class ImportSource:
    """Where things are, and what the weights don't say; None: as config.json and rookery.json beside the weights say.

    `config` and `tokenizer` are files, or folders with files of the usual names.
    """

    weights: Path
    config: Path | None = None
    tokenizer: Path | None = None
    pooling: PoolingKind | None = None
    problem_type: ProblemType | None = None
    labels: tuple[str, ...] | None = None
    named: Named = field(default_factory=Named)

    @property
    def folder(self) -> Path:
        """The folder that the weights are, or lie in."""
        return self.weights if self.weights.is_dir() else self.weights.parent

    def config_file(self) -> JsonFile:
        """Reads the encoder's config.json.

        Raises:
            ConfigError: there is none.
            CheckpointError: it is no JSON object.
        """
        path = self.config or self.folder
        path = path / "config.json" if path.is_dir() else path
        if not path.is_file():
            raise ConfigError(f"{path}: there is none; give the encoder's config.json with --config")
        return JsonFile.read(path)

    def tokenizer_files(self) -> dict[str, Path]:
        """The usual names and where the files are."""
        path = self.tokenizer or self.folder
        if path.is_file():  # what was added to it lies beside it
            files = tokenizer_files(path.parent)
            for name in (SPIECE, TOKENIZER_JSON):
                files.pop(name, None)
            return {TOKENIZER_JSON if path.suffix == ".json" else SPIECE: path, **files}
        files = tokenizer_files(path)
        if SPIECE not in files and TOKENIZER_JSON not in files:
            raise ConfigError(
                f"{path}: has neither {SPIECE} nor {TOKENIZER_JSON}; give the tokenizer's file with --tokenizer"
            )
        return files

    def weight_files(self) -> tuple[Path, ...]:
        """The source itself; of a folder the files of the usual names, or the one that there is of another name."""
        if not self.weights.is_dir():
            return (self.weights,)
        usual = [f"{name}{index}" for name in WEIGHTS for index in ("", ".index.json")]
        others = self._others(known=())
        if len(others) == 1 and not any((self.weights / name).is_file() for name in usual):
            return tuple(others)
        return weight_files(self.weights)

    def head_file(self) -> Path | None:
        """The file beside a folder's own weights that has weights too, as people save a head; None where there is none.

        Raises:
            ConfigError: there are several.
        """
        if not self.weights.is_dir():
            return None
        head_files = self._others(known=self.weight_files())
        if len(head_files) > 1:
            raise ConfigError(
                f"{self.weights}: several files may hold the head: {', '.join(path.name for path in head_files)}; "
                "leave one of them in the folder"
            )
        return head_files[0] if head_files else None

    def _others(self, known: tuple[Path, ...]) -> list[Path]:
        """The folder's files that may hold weights under other names than the usual ones."""
        return [
            path
            for path in sorted(self.weights.iterdir())
            if path.suffix in WEIGHT_SUFFIXES
            and path not in known
            and path.name not in WEIGHTS
            and not any(map(path.match, _OF_TRAINING))
        ]


def convert(source: ImportSource, target: Path) -> tuple[Recognised, CheckpointFolder]:
    """Writes the folder `target`, which appears when it is complete.

    Raises:
        ConfigError: something that has to be told is not, or `target` is there already.
        CheckpointError: the weights are of no known classifier, or not all of its weights.
    """
    if target.exists():
        raise ConfigError(f"{target}: is there already; expected the name of a new folder")
    refuse_adapter(source.weights)
    config, tokenizer = source.config_file(), source.tokenizer_files()
    encoder = read_encoder(config)
    stored, recognised = _recognised(source)
    stored = [s for s in stored if s.name not in recognised.left_out]
    stored += [Stored(source.weights, n, torch.zeros(1)) for n in recognised.absent_biases]
    settings = rookery_settings(source.folder)
    head = _head(source, recognised, config, settings)
    classifier = Classifier(encoder, head)
    fill(
        classifier,
        stored,
        source.weights,
        rename=recognised.rename,
        original=recognised.original,
    )
    with written_beside(target) as partial:
        save(classifier, partial, settings=_without_head(settings))
        for name, file in tokenizer.items():
            shutil.copyfile(file, partial / name)
    return recognised, CheckpointFolder.open(target)


def _recognised(source: ImportSource) -> tuple[list[Stored], Recognised]:
    """The source's tensors and what they are; a head in a file of its own counts where the weights have none."""
    if source.weights.is_dir():
        refuse_other_weights(source.weights)
    named = replace(source.named, attends=source.pooling == "attention")
    stored = list(read_all(source.weight_files()))
    recognised = recognise(_shapes(stored), source.weights, named)
    if recognised.head != "none" or not (file := source.head_file()):
        return stored, recognised
    stored += [s._replace(name=f"{file.stem}.{s.name}") for s in read_all([file])]
    return stored, recognise(_shapes(stored), source.weights, named)


def _shapes(stored: list[Stored]) -> dict[str, tuple[int, ...]]:
    return {s.name: tuple(s.tensor.shape) for s in stored}


def _head(source: ImportSource, recognised: Recognised, config: JsonFile, settings: JsonFile) -> HeadConfig:
    """The head that the weights show, with what they don't say from the source."""
    _refuse_other(source, "head", settings.get("head"), recognised.head)
    pooling = _pooling(source, recognised, config, settings)
    problem_type = source.problem_type or settings.get("problem_type")
    hand_written = recognised.head in ("linear", "dense") and pooling != "tokens"
    if hand_written and not problem_type and not config.get("problem_type"):
        raise ConfigError(
            f"{source.weights}: the weights don't say what follows the last layer; give --problem-type single_label "
            "(softmax), multi_label (sigmoid) or regression (nothing)"
        )
    rookery_values = {
        "pooling": pooling,
        "head": recognised.head,
        "attention_size": recognised.attention_size,
        "dense_size": recognised.dense_size,
        "labels": list(source.labels) if source.labels else settings.get("labels"),
        "problem_type": problem_type,
    }
    config = _with_outputs(config, recognised.outputs)
    return read_head(config, JsonFile(Path("command line"), rookery_values))


def _pooling(source: ImportSource, recognised: Recognised, config: JsonFile, settings: JsonFile) -> PoolingKind:
    stated = source.pooling or settings.choice("pooling", get_args(PoolingKind), None)
    if recognised.pooling:
        _refuse_other(source, "pooling", stated, recognised.pooling)
        return recognised.pooling
    if stated:
        return stated
    for architecture in [*(config.get("architectures") or []), "BigBirdModel"]:
        pooling, head = ARCHITECTURES.get(architecture, (None, None))
        if pooling and head == recognised.head:
            return pooling
    raise ConfigError(
        f"{source.weights}: the weights don't say what of the tokens the head gets; give --pooling: cls (the first "
        "hidden state), pooler (the first through dense and tanh: pooler_output), mean, max, or tokens (a label for "
        "each token)"
    )


def _refuse_other(source: ImportSource, key: str, stated: object, shown: str) -> None:
    if stated not in (None, shown):
        raise ConfigError(
            f"{source.weights}: {key} is said to be {stated!r}; expected {shown!r}, which is what the weights show"
        )


def _with_outputs(config: JsonFile, outputs: int) -> JsonFile:
    """An encoder's config.json knows nothing of the head; its labels are kept if there are as many as outputs."""
    names = config.get("id2label")
    if not outputs or (isinstance(names, dict) and len(names) == outputs):
        return config
    return JsonFile(config.path, {**config.values, "id2label": None, "num_labels": outputs})


def _without_head(settings: JsonFile) -> Mapping[str, Any]:
    """What rookery.json says beside the head, which is written anew."""
    keys = ("thresholds", "temperature", "windows")
    return {key: settings.values[key] for key in keys if key in settings.values}
