"""What a listing of a store holds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.packed import PackedList


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One object as a listing saw it. `version`: its ETag, or size and modification time where there is none.

    Of a file that the metadata of a lake table names it is empty: such files never change under one name.
    """

    uri: str
    size: int
    version: str
    modified: float = field(default=0.0, compare=False, repr=False)  # in seconds, by the store's clock

    def __reduce__(self) -> tuple[Any, ...]:  # in half the time of a dataclass's own, a million times
        return StoredFile, (self.uri, self.size, self.version, self.modified)

    def is_now(self, now: "StoredFile | None") -> bool:
        """Tells whether the object, as a later look saw it, is still the one that was planned."""
        return now is not None and now.size == self.size and (not self.version or now.version == self.version)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a URI means, and all that had to be listed to tell; files are sorted by URI."""

    root: str  # the file or folder that the URI names, or the folder above its first wildcard
    is_pattern: bool
    files: Sequence[StoredFile]  # that the URI means
    below: Sequence[StoredFile]  # every one at or below the root
    odd: list[str]  # what a walk of a local folder passes by: links to folders or to nothing, pipes, sockets

    @property
    def is_folder(self) -> bool:
        """Tells whether the URI names a folder."""
        is_file = len(self.files) == 1 and self.files[0].uri == self.root
        return not (self.is_pattern or is_file)


def by_uri(files: Iterable[StoredFile]) -> PackedList[StoredFile]:
    """Sorts files by their URIs; those that come in this order, as stores list them, are never held all at once."""
    packed, latest, is_sorted = PackedList[StoredFile](), "", True
    for file in files:
        packed.append(file)
        is_sorted, latest = is_sorted and latest <= file.uri, file.uri
    return packed if is_sorted else PackedList(sorted(packed, key=lambda file: file.uri))
