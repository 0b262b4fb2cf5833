"""Reads the names and tensors of weight files: safetensors, or state dicts, from which no code is run.

Files are read one at a time and only mapped, so that a tensor is copied once, into its place.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.errors import CheckpointError

_WORDS = "embeddings.word_embeddings.weight"  # what a mapping has to hold to be a model's weights
UNSAFE = re.compile(r"GLOBAL ([\w.]+)")  # how torch names what it does not load


class Stored(NamedTuple):
    """A tensor, the file that holds it and its name there."""

    file: Path
    name: str
    tensor: Tensor


def read_all(files: Iterable[Path]) -> Iterator[Stored]:
    """Raises CheckpointError: a file is damaged, or holds more than names and tensors."""
    for file in files:
        read = _read_safetensors if file.suffix == ".safetensors" else _read_pickle
        for name, tensor in read(file):
            yield Stored(file, name, tensor)


def _read_safetensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                yield name, tensors.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: cannot be read as safetensors ({error}); fetch the file again") from error


def _read_pickle(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:  # weights_only runs none of the code that a pickle may hold
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # a broken pickle raises nearly anything
        unsafe = UNSAFE.search(str(error))
        content = f"an object of {unsafe.group(1)}" if unsafe else type(error).__name__
        raise CheckpointError(
            f"{file}: cannot be read as a plain state dict ({content}); it is damaged, or holds more than names and "
            "tensors, such as a whole model or a training run's settings, which are not loaded from a pickle: fetch "
            "the file again, or save the weights alone where you trust it, with torch.save(model.state_dict(), path) "
            "or torch.save(torch.load(path, weights_only=False)['state_dict'], path) or, better, as safetensors"
        ) from error
    if not isinstance(state, Mapping):
        raise _no_state_dict(file, type(state).__name__)
    for name, tensor in _weights(file, state).items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise _no_state_dict(file, f"{name!r}: {type(tensor).__name__}")
        yield name, tensor


def _weights(file: Path, state: Mapping[object, object]) -> Mapping[object, object]:
    """The mapping that holds a model's weights, wherever a training loop put it; `state` itself where there is none."""
    models = dict(_holding_words("", state))
    if len(models) > 1:
        raise CheckpointError(
            f"{file}: holds several models' weights, under {', '.join(sorted(models))}; expected those of one: save "
            "the ones that you want alone, with torch.save(torch.load(path, weights_only=True)[key], path)"
        )
    return next(iter(models.values()), state)


def _holding_words(path: str, state: Mapping[object, object]) -> Iterator[tuple[str, Mapping[object, object]]]:
    if any(isinstance(name, str) and name.endswith(_WORDS) for name in state):
        yield path, state
        return
    for key, value in state.items():
        if isinstance(value, Mapping):
            yield from _holding_words(f"{path}.{key}".lstrip("."), value)


def _no_state_dict(file: Path, content: str) -> CheckpointError:
    return CheckpointError(
        f"{file}: holds {content}; expected a state dict, names and tensors only: save model.state_dict()"
    )
