"""What a listing of a store holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One object as a listing saw it. `version`: its ETag, or size and modification time where there is none.

    Of a file that the metadata of a lake table names it is empty: such files never change under one name.
    """

    uri: str
    size: int
    version: str
    modified: float = field(default=0.0, compare=False, repr=False)  # in seconds, by the store's clock

    def is_now(self, now: "StoredFile | None") -> bool:
        """Tells whether the object, as a later look saw it, is still the one that was planned."""
        return now is not None and now.size == self.size and (not self.version or now.version == self.version)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a URI means, and all that had to be listed to tell; files are sorted by URI."""

    root: str  # the file or folder that the URI names, or the folder above its first wildcard
    is_pattern: bool
    files: list[StoredFile]  # that the URI means
    below: list[StoredFile]  # every one at or below the root
    odd: list[str]  # what a walk of a local folder passes by: links to folders or to nothing, pipes, sockets

    @property
    def is_folder(self) -> bool:
        """Tells whether the URI names a folder."""
        return not self.is_pattern and [file.uri for file in self.files] != [self.root]


def by_uri(files: Mapping[str, StoredFile]) -> list[StoredFile]:
    """Sorts the files of a listing by path by their URIs."""
    return sorted(files.values(), key=lambda file: file.uri)
