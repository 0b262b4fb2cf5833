"""A folder on this machine's disk for what memory does not hold, and what is said where the disk is full."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StorageError


@contextlib.contextmanager
def spill_folder(what: str, document_bytes: int) -> Iterator[Path]:
    """Makes a folder in TMPDIR that is removed afterwards; `what` and `document_bytes` as `full_disk_explained`."""
    with full_disk_explained(what, document_bytes):
        folder = tempfile.TemporaryDirectory(prefix="rookery-")
    with folder as path:
        yield Path(path)


@contextlib.contextmanager
def full_disk_explained(what: str, document_bytes: int) -> Iterator[None]:
    """Turns what the disk refuses into a StorageError.

    Args:
        what: that can't be compared, in the plural.
        document_bytes: that are spilled of each document.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{tempfile.gettempdir()}: {what} can't be compared there ({error}); make room, {document_bytes} bytes a "
            "document, or set TMPDIR, then run again: finished units are kept"
        ) from error
