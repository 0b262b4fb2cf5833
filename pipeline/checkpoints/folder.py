"""A checkpoint folder: what is in it, read and checked without torch and without its weights.

File                  Holds
config.json           transformers' description of the model
rookery.json          ours, optional: pooling, head, labels, thresholds, windows
modules.json          sentence-transformers', optional: the pooling
model.safetensors     the weights; or shards with model.safetensors.index.json; or, if there is
                      neither, pytorch_model.bin, or shards with pytorch_model.bin.index.json
spiece.model          the tokenizer; or tokenizer.json; or both
added_tokens.json     tokens that were added to it; also in tokenizer_config.json and
                      special_tokens_map.json (added_tokens.py)
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.added_tokens import FILES as ADDED_TOKEN_FILES, SPIECE, TOKENIZER_JSON, Declared, declared
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.checkpoints import sentence_transformers
from pipeline.checkpoints.config import (
    ROOKERY_KEYS,
    DecisionConfig,
    WindowConfig,
    read_decision,
    read_encoder,
    read_head,
    read_windows,
)
from pipeline.checkpoints.json_file import JsonFile
from pipeline.errors import CheckpointError
from pipeline.identity import digest

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # each may be one file, or shards and index
TOKENIZER_FILES = (SPIECE, TOKENIZER_JSON, *ADDED_TOKEN_FILES)
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
ADAPTER_NAMES = re.compile(r"\b(?:lora|ia3)_|\bbase_layer\.|^base_model\.model\.")  # in its tensors' names


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """What a checkpoint's folder says of itself, and where its large files are."""

    path: Path
    encoder: EncoderConfig
    head: HeadConfig
    decision: DecisionConfig
    windows: WindowConfig
    weight_files: tuple[Path, ...]
    spiece: Path | None
    tokenizer_json: Path | None
    declared: Declared  # the added tokens of the small files

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads the small files and finds the large ones.

        Raises:
            CheckpointError: something is missing or says what cannot be.
        """
        if not path.is_dir():
            raise CheckpointError(f"{path}: is not a folder; expected a checkpoint folder")
        refuse_adapter(path)
        config = JsonFile.read(_required(path, "config.json"))
        rookery = rookery_settings(path)
        encoder = read_encoder(config)
        head = read_head(config, rookery)
        tokenizer = tokenizer_files(path)
        if SPIECE not in tokenizer and TOKENIZER_JSON not in tokenizer:
            raise _missing(path, f"{SPIECE} (or {TOKENIZER_JSON})")
        return cls(
            path=path,
            encoder=encoder,
            head=head,
            decision=read_decision(rookery, head),
            windows=read_windows(rookery, encoder),
            weight_files=weight_files(path),
            spiece=tokenizer.get(SPIECE),
            tokenizer_json=tokenizer.get(TOKENIZER_JSON),
            declared=declared(path),
        )

    def weights_digest(self) -> str:
        """SHA-256, in hex, of all in this folder that turns token ids into a window's scores.

        That is the encoder's and the head's configuration and the bytes of the weights: not where
        the folder lies, how its files or its labels are called, nor the thresholds.
        """
        return digest("weights/1", self.encoder.form, self.head.form, _contents(self.weight_files))

    def tokenizer_digest(self) -> str:
        """SHA-256, in hex, of spiece.model, then tokenizer.json, then the tokens that other files add."""
        spiece, tokenizer_json = (_contents([file] if file else []) for file in (self.spiece, self.tokenizer_json))
        return digest("tokenizer/1", spiece, tokenizer_json, self.declared.form)


def tokenizer_files(path: Path) -> dict[str, Path]:
    """The files of a folder that decide its token ids, by name."""
    return {name: path / name for name in TOKENIZER_FILES if (path / name).is_file()}


def refuse_adapter(path: Path) -> None:
    """Raises CheckpointError for an adapter (LoRA): it holds differences to a model that is elsewhere."""
    adapters = [name for name in ADAPTERS if name == path.name or (path / name).is_file()]
    if adapters:
        raise adapter_error(path, f"has {adapters[0]}" if path.is_dir() else "so called")


def adapter_error(where: object, why: str) -> CheckpointError:
    """Builds the error for a file or folder `where` that is of an adapter, which `why` shows."""
    return CheckpointError(
        f"{where}: {why}: it is of an adapter (LoRA), which holds differences to a model's weights and cannot be run "
        "alone; merge the two with peft: model = model.merge_and_unload(), then model.save_pretrained(folder), and "
        "remove the adapter's files"
    )


def rookery_settings(folder: Path) -> JsonFile:
    """The folder's rookery.json, empty where there is none, with the pooling of modules.json if it has none itself."""
    path = folder / "rookery.json"
    file = JsonFile.read(path) if path.is_file() else JsonFile(path, {})
    file.refuse_unknown_keys(ROOKERY_KEYS)
    if file.get("pooling") is None and (pooling := sentence_transformers.pooling(folder)):
        return JsonFile(path, {**file.values, "pooling": pooling})
    return file


def weight_files(path: Path) -> tuple[Path, ...]:
    """Finds the files that hold a folder's weights: one, or shards in their order.

    Raises:
        CheckpointError: there are none, or an index names files that are not there.
    """
    for name in WEIGHTS:
        index = path / f"{name}.index.json"
        if (path / name).is_file():
            return (path / name,)
        if index.is_file():
            return _shards(index)
    raise _missing(path, " or ".join(WEIGHTS))


def other_weight_files(path: Path) -> tuple[Path, ...]:
    """The files of a folder that hold its weights a second time, and are not read."""
    files = [path / name for name in WEIGHTS if (path / name).is_file()]
    return tuple(file for file in files if file not in weight_files(path))


def _shards(index: Path) -> tuple[Path, ...]:
    weight_map = JsonFile.read(index).nested("weight_map")
    names = sorted({str(name) for name in weight_map.values.values()})
    if not names or any(Path(name).name != name for name in names):
        raise CheckpointError(f"{index}: weight_map names the files {names}; expected files in the same folder")
    return tuple(_required(index.parent, name) for name in names)


def _required(path: Path, name: str) -> Path:
    if not (path / name).is_file():
        raise _missing(path, name)
    return path / name


def _missing(path: Path, name: str) -> CheckpointError:
    entries = ", ".join(sorted(entry.name for entry in path.iterdir())) or "nothing"
    return CheckpointError(f"{path}: {name} is missing; found {entries}: fetch the complete folder")


def _contents(files: Iterable[Path]) -> list[str]:
    """SHA-256, in hex, of each file."""
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests
