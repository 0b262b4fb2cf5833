"""The lines of a CSV file: rows are told apart without holding one that is too large."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TextIO, cast

from pipeline.corpus.formats.decompression import BUFFER

MARK = "\ufeff"  # of an encoding


class RowTooLargeError(csv.Error):
    """Raised for a row above the limit, which has been read to its end and not kept."""


def text_of(stream: io.BufferedIOBase) -> io.TextIOWrapper:
    """A CSV file's characters. Bytes that are not UTF-8 stay as surrogates, so that they cost their own row only."""
    return io.TextIOWrapper(cast(BinaryIO, stream), "utf-8", errors="surrogateescape", newline="")


def first_row(stream: io.RawIOBase, limit: int, delimiter: str) -> list[str] | None:
    """The header that a stream begins with; None unless what follows it has begun too. Raises csv.Error."""
    with text_of(io.BufferedReader(stream)) as file:
        header = next(records(CsvLines(file, limit), delimiter), None)
        return header if file.read(1) else None


def records(lines: "CsvLines", delimiter: str) -> Iterator[list[str]]:
    """The header and the rows; blank lines are none. Raises csv.Error, and goes on behind what is wrong."""
    csv.field_size_limit(2**31 - 1)
    return filter(None, csv.reader(lines, strict=True, delimiter=delimiter))


@dataclass
class CsvLines:
    """The lines of a CSV file. A row of more than `limit` characters is read to its end, not kept, and raises."""

    file: TextIO
    limit: int
    held: int = 0  # characters of this row so far
    quotes: int = 0  # an odd number: the row goes on in the next line

    def begin_row(self) -> None:
        self.held = self.quotes = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.file.readline(self.limit - self.held + 1)
        if line.startswith(MARK) and self.quotes % 2 == 0:
            line = line.removeprefix(MARK)  # the file's own, or of one that was joined to it
        self.held += len(line)
        self.quotes += line.count('"')
        if self.held > self.limit:
            self._skip_row(line)
            raise RowTooLargeError(f"a row of more than {self.limit:,} bytes")
        if not line:
            raise StopIteration
        return line

    def _skip_row(self, line: str) -> None:
        while line and (self.quotes % 2 or not line.endswith(("\n", "\r"))):
            line = self.file.readline(BUFFER)
            self.quotes += line.count('"')
