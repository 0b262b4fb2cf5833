"""The texts of documents that a table tells of, read again from the corpus: for whoever takes them out of it.

A text is given only if it is the one that was scored, by its digest. What was asked for comes in the order of the
corpus, so that each file is read once and one document is held at a time.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.documents import rows
from pipeline.corpus.files import describe_file
from pipeline.corpus.rows import Row
from pipeline.corpus.slices import Bytes, ParquetSlice, Unit
from pipeline.corpus.units import cut
from pipeline.storage.objects import Storage

UNIT_TEXT_BYTES = 16_000_000  # read from a file at a time; others are passed over where their rows can be told


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text as a table's row names it: the file's URI, the position there, SHA-256 in hex."""

    source_uri: str
    position: int
    sha256: str


def scored_texts(storage: Storage, settings: CorpusSettings, wanted: Iterable[ScoredText]) -> Iterator[str | None]:
    """Gives each text, in the order asked for: by `source_uri`, then by `position`.

    None for one that is not there any more, or is another one by now.

    Raises CorpusError for a file that can't be read any more as the job says; AccessError, StorageError.
    """
    for uri, of_file in groupby(wanted, lambda text: text.source_uri):
        yield from _of_file(storage, settings, uri, of_file)


def _of_file(
    storage: Storage, settings: CorpusSettings, uri: str, wanted: Iterator[ScoredText]
) -> Iterator[str | None]:
    stored = storage.stat(uri)
    units = iter(cut(storage, [describe_file(stored, settings.format)], settings, UNIT_TEXT_BYTES) if stored else [])
    documents: Iterator[Row] = iter(())
    row: Row | None = {"position": -1}
    for text in wanted:
        while row is not None and row["position"] < text.position:
            row = next(documents, None)
            if row is None and (unit := _reaching(units, text.position)):
                documents, row = rows(storage, unit), {"position": -1}
        is_there = row is not None and row["position"] == text.position
        yield _if_same(row.get("text") if row and is_there else None, text.sha256)


def _reaching(units: Iterator[Unit], position: int) -> Unit | None:
    """The next unit that may hold a position."""
    return next((unit for unit in units if (stop := _stop(unit)) is None or stop > position), None)


def _stop(unit: Unit) -> int | None:
    """The position behind a unit's last document; None where it can't be told without reading."""
    match unit.slice:
        case Bytes(stop=stop):
            return stop
        case ParquetSlice(is_cut=is_cut, first_row=first_row) if unit.documents is not None:
            return first_row + (unit.slice.row_range[0] if is_cut else 0) + unit.documents
    return None


def _if_same(text: str | None, sha256: str) -> str | None:
    return text if text is not None and hashlib.sha256(text.encode()).hexdigest() == sha256 else None
