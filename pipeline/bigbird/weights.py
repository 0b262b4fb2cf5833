"""Reads the names and tensors of weight files: safetensors, or state dicts, from which no code is run.

Files are read one at a time and only mapped, so that a tensor is copied once, into its place.
"""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.errors import CheckpointError

WRAPPED = ("state_dict", "model_state_dict")  # where training loops put the state dict


class Stored(NamedTuple):
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
        raise CheckpointError(
            f"{file}: cannot be read as safetensors ({error}); fetch the file again"
        ) from error


def _read_pickle(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:  # weights_only runs none of the code that a pickle may hold
        state = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except Exception as error:  # a broken pickle raises nearly anything
        raise CheckpointError(
            f"{file}: cannot be read as a plain state dict ({type(error).__name__}); it is damaged, or holds more than names and "
            "tensors, such as a whole model, which is not loaded from a pickle: fetch the file again, or save the weights alone, with "
            "torch.save(model.state_dict(), path) or, better, as safetensors"
        ) from error
    if not isinstance(state, Mapping):
        raise _no_state_dict(file, type(state).__name__)
    state = next((state[key] for key in WRAPPED if isinstance(state.get(key), Mapping)), state)
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise _no_state_dict(file, f"{name!r}: {type(tensor).__name__}")
        yield name, tensor


def _no_state_dict(file: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{file}: holds {found}; expected a state dict, names and tensors only: save "
        "model.state_dict()"
    )
