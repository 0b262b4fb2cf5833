"""Copies, on this machine's disk, of the checkpoints that lie in a store: one for each version."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import CheckpointError
from pipeline.identity import digest
from pipeline.storage.listings import StoredFile
from pipeline.storage.store_errors import explain_writing


def checkpoint_cache() -> Path:
    """Names the folder in which this machine keeps its copies."""
    return Path(tempfile.gettempdir()) / f"rookery-{os.getuid()}" / "checkpoints"


def copied(
    root: str, files: Sequence[StoredFile], opened: Callable[[StoredFile], AbstractContextManager[BinaryIO]]
) -> Path:
    """Copies a folder of a store, unless this machine has a copy of the version.

    Args:
        root: canonical URI of the folder.
        files: all of its files.
        opened: opens one of them.

    Raises:
        CheckpointError: a name leads out of the folder.
        ConfigError: the cache can't be written.
    """
    name = digest("checkpoint/1", [(file.uri, file.size, file.version) for file in files])[:32]
    places = _places({_inner_name(file, root): file for file in files})

    def fill(folder: Path) -> None:
        for place, file in places.items():
            local = folder / place
            local.parent.mkdir(parents=True, exist_ok=True)
            with opened(file) as remote, local.open("wb") as copy:
                shutil.copyfileobj(remote, copy, 2**24)

    return made_once(name, fill)


def made_once(name: str, fill: Callable[[Path], None]) -> Path:
    """Gives the folder of this machine's cache that has a name; `fill` makes it, where there is none.

    Raises ConfigError where the cache can't be written.
    """
    target = checkpoint_cache() / name
    if target.is_dir():
        return target
    with explain_writing(f"the cache of checkpoints in {tempfile.gettempdir()} (TMPDIR)"):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=target.parent))
    fill(partial)
    try:
        partial.rename(target)
    except OSError:  # another process of this machine was first
        shutil.rmtree(partial)
    return target


def is_mlflow_model(has: Callable[[str], bool]) -> bool:
    """Tells of a folder, which `has` says the files of, whether MLflow's transformers flavor wrote it."""
    return has("MLmodel") and has("model/config.json") and not has("config.json")


def _places(files: dict[str, StoredFile]) -> dict[str, StoredFile]:
    """Where each file goes: as it lies, but for what MLflow lays into folders of model and tokenizer."""
    if not is_mlflow_model(files.__contains__):
        return files
    flat: dict[str, StoredFile] = {}
    for folder in ("components/tokenizer/", "model/"):
        flat |= {name.removeprefix(folder): file for name, file in files.items() if name.startswith(folder)}
    return flat


def _inner_name(file: StoredFile, root: str) -> str:
    """The file's name below `root`; `..` in it means nothing in a store, but leads out of a copy on disk."""
    name = file.uri.removeprefix(root).lstrip("/")
    if ".." in name.split("/"):
        raise CheckpointError(f"{file.uri}: the name leads out of its folder; remove the object")
    return name
