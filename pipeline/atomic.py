"""Files and folders that appear whole: written beside their place, on the disk before they take it."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def written_beside(
    path: Path, *, partial: Path | None = None, place: Callable[[Path, Path], None] = os.replace
) -> Iterator[Path]:
    """Gives another name for the block to write a file or a folder under, and then moves that to `path`.

    Nobody ever sees less than all of it under `path`, whenever a process or the machine ends: it is on the disk
    before it gets the name. A block that raises leaves nothing. A process that is killed leaves what it wrote under
    the other name, and the next one that writes under that name removes it. Modes are those that the process's umask
    gives to new files.

    Args:
        path: the file or folder; the folder that holds it must be there when the block ends.
        partial: the other name, on the same disk, by default `<path>.partial`. Where several processes may write
            the same path at a time, each needs one of its own.
        place: moves it: os.replace replaces a file that is there; os.link raises FileExistsError instead.
    """
    partial = partial or path.with_name(f"{path.name}.partial")
    _remove(partial)
    try:
        yield partial
        _sync(partial)
        place(partial, path)
    finally:
        _remove(partial)


def _sync(path: Path) -> None:
    """Waits until a file, or a folder with all below it, is on the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _sync(inner)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
