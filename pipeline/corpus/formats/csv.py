"""CSV with a header, as RFC 4180 has it: commas between the fields, quotes doubled inside quotes. TSV: tabs instead.

A field may hold line ends, so a file can only be read from its beginning.
"""

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator, Mapping

from pipeline.corpus.columns import DELIMITERS, other_delimiter, repeated
from pipeline.corpus.corpus_file import MalformedContentsError
from pipeline.corpus.formats.characters import CharacterFormat
from pipeline.corpus.formats.csv_lines import CsvLines, RowTooLargeError, first_row, records, text_of
from pipeline.corpus.formats.decompression import DAMAGE, decompressed
from pipeline.corpus.formats.encodings import FIRST_BYTES, Utf8
from pipeline.corpus.rows import Row, record_row, too_large_row, unreadable_row
from pipeline.corpus.slices import Unit
from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage

HEADER_BYTES = (FIRST_BYTES, 2**20, 2**24)  # tried one after the other: the first is enough but for very wide tables


class Csv(CharacterFormat):
    """Comma-separated values."""

    title = "CSV"
    endings = (".csv",)
    delimiter = ","

    def cut(self, storage: Storage, whole: Unit, columns: Mapping[str, str], text_bytes: int) -> Iterator[Unit]:
        """Yield the file as a stream. Raises CorpusError for a header that is no use."""
        self._check_header(storage, whole, columns)
        yield self.stream(whole, text_bytes)

    def documents(self, text: Utf8, unit: Unit) -> Iterator[Row]:
        """Yield a row for each row behind the header."""
        with text_of(text.buffered()) as file:
            lines = CsvLines(file, unit.reading.max_document_bytes)
            rows = records(lines, self.delimiter)
            header = _read_header(rows, unit)
            for position in itertools.count():
                lines.begin_row()
                try:
                    values = next(rows)
                except StopIteration:
                    return
                except RowTooLargeError:
                    yield too_large_row(unit, position)
                except csv.Error as error:  # what follows is read as the next row
                    yield unreadable_row(unit, position, "invalid_csv", str(error))
                else:
                    yield _document(unit, position, header, values)

    def _check_header(self, storage: Storage, whole: Unit, columns: Mapping[str, str]) -> None:
        uri, header = whole.file.uri, self._planned_header(storage, whole)
        if name := repeated(header, columns):
            raise CorpusError(
                f"{uri}: the header has {name!r} {header.count(name)} times; expected it once: rename the columns that "
                "are not meant"
            )
        if other := other_delimiter(header, whole.reading.text_columns[0]):
            expected = DELIMITERS[self.delimiter]
            raise CorpusError(
                f"{uri}: {DELIMITERS[other]} is between the columns ({header[0][:40]!r}); expected {expected}: name it "
                "by what it is, or write it as Parquet or JSON Lines"
            )

    def _planned_header(self, storage: Storage, whole: Unit) -> list[str]:
        """The header, from as many of the file's first bytes as it takes; empty where the file is damaged."""
        for size in HEADER_BYTES:
            first = io.BytesIO(storage.read_start(whole.file.stored, size))
            with (
                contextlib.suppress(csv.Error, *DAMAGE),
                decompressed(first, whole.file.compression) as stream,
            ):
                if header := first_row(Utf8(stream), whole.reading.max_document_bytes, self.delimiter):
                    return header
            if size >= whole.file.stored.size:
                break
        return []


class Tsv(Csv):
    """Tab-separated values; quotes mean what they mean in CSV."""

    title = "TSV"
    endings = (".tsv",)
    delimiter = "\t"


def _read_header(rows: Iterator[list[str]], unit: Unit) -> list[str]:
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise MalformedContentsError(str(error)) from error
    if name := repeated(header, unit.reading.columns):  # planning refuses it, where it finds the header
        raise MalformedContentsError(f"the header has {name!r} more than once")
    return header


def _document(unit: Unit, position: int, header: list[str], values: list[str]) -> Row:
    if len(values) != len(header):
        message = f"expected {len(header)} fields as in the header, found {len(values)}"
        return unreadable_row(unit, position, "ragged_row", message)
    if values == header:
        message = "the header again, as where files were joined"
        return unreadable_row(unit, position, "repeated_header", message)
    return record_row(unit, position, dict(zip(header, values, strict=True)))
