"""Files of this machine, where an object appears whole or not at all as it does in an object store."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipeline.atomic import written_beside
from pipeline.packed import PackedList
from pipeline.storage.listings import StoredFile

NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def is_local(filesystem: Any) -> bool:
    """Tells whether an fsspec filesystem is this machine's own."""
    return isinstance(filesystem, LocalFileSystem)


def list_local(path: str) -> tuple[Sequence[StoredFile], list[str]]:
    """Lists the file, or everything below the folder, by URI, and what is neither file nor folder. May be empty."""

    def unless_gone(error: OSError) -> None:
        if error.errno not in NO_SUCH_FILE:
            raise error

    names: list[str] = []
    odd: list[str] = []
    for folder, folders, inside in os.walk(path, onerror=unless_gone):
        names += [os.path.join(folder, name) for name in inside]  # noqa: PTH118 - Path costs more than stat
        odd += [link for name in folders if os.path.islink(link := os.path.join(folder, name))]  # noqa: PTH114, PTH118
    files = PackedList[StoredFile]()
    for name in sorted(names) or [path]:
        try:
            status = Path(name).stat()
        except OSError as error:  # another run's hidden file, linked by now, or a link to nothing
            if error.errno not in NO_SUCH_FILE:
                raise
            if os.path.islink(name):  # noqa: PTH114 - Path's own raises where a name is too long
                odd.append(name)
            continue
        if stat.S_ISREG(status.st_mode):
            files.append(_local_file(name, status))
        elif not stat.S_ISDIR(status.st_mode):
            odd.append(name)
    return files, sorted(odd)


def stat_local(path: str) -> StoredFile:
    """Looks at one file. Raises FileNotFoundError."""
    return _local_file(path, Path(path).stat())


def _local_file(path: str, status: os.stat_result) -> StoredFile:
    # nanoseconds tell two quick rewrites apart
    version = f"{status.st_size}-{status.st_mtime_ns}"
    return StoredFile(f"file://{path}", status.st_size, version, status.st_mtime)


def create_local(path: str, data: bytes) -> None:
    """Writes a file that appears whole. Raises FileExistsError."""
    _write(Path(path), data, os.link)


def replace_local(path: str, data: bytes) -> None:
    """Writes a file that appears whole, in the place of the one that may be there."""
    _write(Path(path), data, os.replace)


def _write(path: Path, data: bytes, place: Callable[[Path, Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".rookery-{secrets.token_hex(8)}")  # others may write this path now
    with written_beside(path, partial=hidden, place=place) as partial, partial.open("xb") as file:
        file.write(data)


def nearest_above(path: Path) -> Path:
    """Finds the nearest of the folders above a path that is there. Raises OSError where there can be none."""
    for folder in path.parents:
        with contextlib.suppress(FileNotFoundError):
            folder.lstat()
            return folder
    raise AssertionError("the root is there")
