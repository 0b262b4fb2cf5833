"""JSON: Lines, and the elements of an array or objects over many lines, which are told apart by the first line.

Plain JSON Lines of UTF-8 is cut by byte ranges; a line belongs to the range that its first byte lies in. What is
compressed, not in lines or not in UTF-8 can only be read from its beginning.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from pipeline.corpus.formats.characters import CharacterFormat, skip_line
from pipeline.corpus.formats.decompression import BUFFER, decompressed
from pipeline.corpus.formats.encodings import FIRST_BYTES, Utf8
from pipeline.corpus.formats.json_objects import parse
from pipeline.corpus.formats.json_values import BLANK, holds_lines, split
from pipeline.corpus.rows import Row, record_row, too_large_row, unreadable_row
from pipeline.corpus.slices import Bytes, Unit, even_ranges
from pipeline.isolation import search_by_halving
from pipeline.storage.objects import Storage


class JsonLines(CharacterFormat):
    """JSON Lines, and what else files of JSON are."""

    title = "JSON"
    endings = (".jsonl", ".ndjson", ".json")

    def cut(self, storage: Storage, whole: Unit, columns: Mapping[str, str], text_bytes: int) -> Iterator[Unit]:
        """Yield byte ranges where lines can be found from any byte on, or the file as a stream."""
        stored = whole.file.stored
        ranges = list(even_ranges(stored.size, text_bytes))
        is_stream = whole.file.compression is not None
        if not is_stream and len(ranges) > 1:  # the reader of a whole file looks for itself
            is_stream = not _has_byte_lines(Utf8(io.BytesIO(storage.read_start(stored, FIRST_BYTES))))
        if is_stream:
            yield self.stream(whole, text_bytes)
            return
        for start, stop in ranges:
            yield replace(whole, slice=Bytes(start, stop))

    def decompressed_rows(self, stream: io.BufferedIOBase, unit: Unit) -> Iterator[Row]:
        """Yield the documents of a byte range, or of the file."""
        if unit.slice.byte_range[0]:  # planning has seen the first bytes
            return _documents(_lines(stream, unit), unit)
        return super().decompressed_rows(stream, unit)

    def documents(self, text: Utf8, unit: Unit) -> Iterator[Row]:
        """Yield a row for each value that isn't blank."""
        stream = text.buffered()
        if holds_lines(text.head):
            return _documents(_lines(stream, unit, text.is_transcoded), unit)
        parts = iter(lambda: stream.read1(BUFFER), b"")
        return _documents(enumerate(split(parts, unit.reading.max_document_bytes)), unit)

    def read_around(self, storage: Storage, unit: Unit, read: Callable[[Unit], pa.Table]) -> Iterator[pa.Table | range]:
        """Yield all lines of a byte range but the deadly ones; what has no lines is one error."""

        def halves(part: Unit) -> Sequence[Unit]:
            starts = _line_starts(storage, part)
            if len(starts) < 2:
                return ()
            (start, stop), middle = part.slice.byte_range, starts[len(starts) // 2]
            assert stop is not None
            return [replace(part, slice=half) for half in (Bytes(start, middle), Bytes(middle, stop))]

        def line_error(part: Unit) -> range:
            start = next(iter(_line_starts(storage, part)), part.slice.byte_range[0])
            return range(start, start + 1)

        yield from search_by_halving(unit, read, halves, line_error)


def _has_byte_lines(text: Utf8) -> bool:
    """Whether lines of JSON can be found from any byte of the file on."""
    return not text.is_transcoded and not text.problem and holds_lines(text.head)


def _line_starts(storage: Storage, unit: Unit) -> list[int]:
    """Positions of the lines in a byte range, without a look at what they hold; empty if bytes don't tell."""
    with storage.open(unit.file.stored) as file, decompressed(file, unit.file.compression) as stream:
        if not unit.slice.byte_range[0]:
            text = Utf8(stream)
            if not _has_byte_lines(text):
                return []
            stream = text.buffered()
        return [position for position, _ in _lines(stream, unit)]


def _documents(values: Iterable[tuple[int, bytes | None]], unit: Unit) -> Iterator[Row]:
    for position, value in values:
        yield (too_large_row(unit, position) if value is None else _document(unit, position, value))


def _lines(stream: io.BufferedIOBase, unit: Unit, is_transcoded: bool = False) -> Iterator[tuple[int, bytes | None]]:
    """Lines that aren't blank and their positions: bytes in a byte range, row numbers elsewhere.

    None is one that is too large.
    """
    start, stop = (0, None) if is_transcoded else unit.slice.byte_range
    at = start
    if start:
        stream.seek(start - 1)
        most = None if stop is None else stop - start + 1
        at += skip_line(stream, most) - 1  # the rest of a line that began before this range
    number = 0
    while (stop is None or at < stop) and (line := stream.readline(unit.reading.max_document_bytes + 1)):
        fits = len(line) <= unit.reading.max_document_bytes
        if not fits or line.strip(BLANK):
            yield number if stop is None else at, line if fits else None
        at += len(line) if fits or line.endswith(b"\n") else len(line) + skip_line(stream)
        number += 1


def _document(unit: Unit, position: int, value: bytes) -> Row:
    try:
        record = parse(value, unit.reading.id_column)
    except UnicodeDecodeError as error:
        return unreadable_row(unit, position, "invalid_utf8", f"byte {error.start} of the line: {error.reason}")
    except (ValueError, RecursionError) as error:
        return unreadable_row(unit, position, "invalid_json", str(error))
    if not isinstance(record, dict):
        message = f"expected a JSON object, found {type(record).__name__}"
        return unreadable_row(unit, position, "not_an_object", message)
    return record_row(unit, position, record)
