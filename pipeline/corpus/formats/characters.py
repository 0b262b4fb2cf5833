"""Formats whose files are characters, compressed or not, in whatever Unicode encoding they say."""

import io
from abc import abstractmethod
from collections.abc import Generator, Iterator
from typing import BinaryIO

from pipeline.corpus.corpus_file import damage_explained
from pipeline.corpus.formats.decompression import BUFFER, decompressed
from pipeline.corpus.formats.encodings import Utf8
from pipeline.corpus.formats.format import Format
from pipeline.corpus.rows import Row, damaged_row, unreadable_row
from pipeline.corpus.slices import Unit
from pipeline.errors import CorpusError


class CharacterFormat(Format):
    """A format that is read as UTF-8 from its beginning. What is read before damage stays; its rest is one error."""

    @abstractmethod
    def documents(self, text: Utf8, unit: Unit) -> Iterator[Row]:
        """Yield a row for each document of a file's UTF-8, from its beginning, with its number as its position.

        Raises MalformedContentsError where nobody can tell where the next document begins.
        """

    def rows(self, file: BinaryIO, unit: Unit) -> Generator[Row]:
        """Yield a row for each document, and one for what lies behind damage."""
        position = 0
        try:
            with damage_explained(unit.file), decompressed(file, unit.file.compression) as stream:
                for row in self.decompressed_rows(stream, unit):
                    yield row
                    position = row["position"] + 1
        except CorpusError as error:
            yield damaged_row(unit, position, error, self.file_id(unit))

    def decompressed_rows(self, stream: io.BufferedIOBase, unit: Unit) -> Iterator[Row]:
        """Yield the documents, or one error where the first bytes tell that it is no text."""
        text = Utf8(stream)
        if text.problem:
            return iter([unreadable_row(unit, 0, "not_text", text.problem, self.file_id(unit))])
        return self.documents(text, unit)

    def file_id(self, unit: Unit) -> str | None:
        """Id of an error that is the whole file's; None for its pointer."""
        return None


def bounded_lines(stream: io.BufferedIOBase, limit: int) -> Iterator[bytes]:
    """Yield the lines with their ends; of one of more than `limit` bytes, which may be the whole file, `limit` + 1."""
    while line := stream.readline(limit + 1):
        yield line
        if len(line) > limit and not line.endswith(b"\n"):
            skip_line(stream)


def skip_line(stream: io.BufferedIOBase, most: int | None = None) -> int:
    """Reads to the end of the line, or no further than about `most` bytes; returns how many they were."""
    skipped = 0
    while (most is None or skipped < most) and (part := stream.readline(BUFFER)):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped
