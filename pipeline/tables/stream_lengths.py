"""How long streams are: of each file that was read to its end, how many parts it has.

    <table>/_units/cuts/<xx>/<stream>-<parts>

The name says it all, so that one listing tells of every stream. A length is a function of the file, whatever scores it:
the next checkpoint's run knows all parts from the start.
"""

from dataclasses import dataclass

from pipeline.storage.objects import Storage


@dataclass(frozen=True, slots=True)
class StreamLengths:
    """The lengths of streams that one table knows, in parts."""

    storage: Storage
    table_uri: str

    @property
    def folder(self) -> str:
        return f"{self.table_uri.rstrip('/')}/_units/cuts"

    def read(self) -> dict[str, int]:
        """Lists the number of parts of each stream by the stream's digest; nothing is read."""
        names = (file.uri.rpartition("/")[2] for file in self.storage.find(self.folder))
        lengths: dict[str, int] = {}
        for name in names:
            stream, _, parts = name.partition("-")
            if parts.isdigit():  # two that differ: the shorter reading missed something
                lengths[stream] = max(int(parts), lengths.get(stream, 0))
        return lengths

    def write(self, stream: str, parts: int) -> None:
        """Stores that a stream, by its digest, has so many parts."""
        self.storage.put_if_absent(f"{self.folder}/{stream[:2]}/{stream}-{parts}", b"")
