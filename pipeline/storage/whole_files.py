"""Objects of any size that are written piece by piece and appear whole, at the end, or not at all."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipeline.atomic import written_beside


@contextlib.contextmanager
def whole_local_file(path: str) -> Iterator[BinaryIO]:
    """Gives a file beside `path` to write, which takes its place when the block ends well."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    hidden = place.with_name(f".rookery-{secrets.token_hex(8)}")  # others may write this path now
    with written_beside(place, partial=hidden) as partial, partial.open("xb") as file:
        yield file


@contextlib.contextmanager
def whole_remote_file(filesystem: Any, path: str, size_now: Callable[[], int | None]) -> Iterator[BinaryIO]:
    """Gives a file to write whose parts become an object when the block ends well, and are thrown away if it raises.

    `size_now` looks how large the object is: a last request whose reply is lost may have been served. What a killed
    process has sent is no object: it is for the bucket's rule for uploads that were broken off.
    """
    file = filesystem.open(path, "wb", autocommit=False)
    try:
        yield cast(BinaryIO, file)
        file.close()
    except BaseException:
        file.closed = True  # or the garbage collector closes it, which sends what is left
        with contextlib.suppress(Exception):  # the first error is the one to tell
            file.discard()
        raise
    size = file.tell()
    try:
        file.commit()
    except Exception:
        if size_now() != size:
            raise
