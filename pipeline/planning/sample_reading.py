"""Reads the documents of a sample: those at some places of a corpus, and how many lie around them."""

import io
import itertools
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from pipeline.corpus.documents import arrow_rows
from pipeline.corpus.formats import FORMATS
from pipeline.corpus.rows import Row
from pipeline.planning.sample_places import Extract, SamplePlace
from pipeline.storage.objects import Storage

PLACE_DOCUMENTS = 24  # of a place
PLACE_TEXT_BYTES = 400_000  # of a place, but for its last document's
HELD_BYTES = 32_000_000  # of an extract's text
SECONDS = 30.0  # after which no more is read, but the first places
FIRST_PLACES = 8
READERS = 4  # each waits for the store most of the time


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """What was read at a place.

    Attributes:
        weight: of the extract, in bytes that are stored.
        documents: in the extract.
        text_bytes: of all of them.
        rows: some of them.
        is_start: the extract is the beginning of a file, which stands for the rest of it.
    """

    weight: float
    documents: int
    text_bytes: int
    rows: list[Row]
    is_start: bool


def read_places(storage: Storage, places: Sequence[SamplePlace], seconds: float = SECONDS) -> list[ReadPlace]:
    """Reads what lies at some places, in their order; what is not begun within some seconds is left out.

    Raises what reading raises: CorpusError, AccessError, StorageError.
    """
    until = time.monotonic() + seconds
    of_extract: dict[Extract, list[int]] = defaultdict(list)
    for number, place in enumerate(places):
        of_extract[place.extract].append(number)
    extracts = list(of_extract)
    # not in order: where time ends, what was read lies all over the corpus
    order = np.random.default_rng(0).permutation(len(extracts)).tolist()

    def read(at: int) -> list[tuple[int, ReadPlace]]:
        extract = extracts[order[at]]
        numbers = of_extract[extract]
        if at >= FIRST_PLACES and time.monotonic() > until:
            return []
        return list(zip(numbers, _read(storage, extract, [places[number] for number in numbers]), strict=True))

    with ThreadPoolExecutor(READERS) as pool:
        numbered = sorted(itertools.chain.from_iterable(pool.map(read, range(len(order)))), key=lambda one: one[0])
    return [place for _, place in numbered]


def _read(storage: Storage, extract: Extract, places: list[SamplePlace]) -> list[ReadPlace]:
    held: list[Row] = []
    documents = held_bytes = text_bytes = 0
    keeps_all = any(place.is_all for place in places)
    with closing(_rows(storage, extract)) as rows:
        for row in rows:
            documents += 1
            text_bytes += text_size(row)
            if keeps_all or held_bytes < HELD_BYTES:
                held.append(row)
                held_bytes = text_bytes
    is_start = extract.start_bytes is not None
    return [ReadPlace(extract.weight, documents, text_bytes, _chosen(held, place), is_start) for place in places]


def _rows(storage: Storage, extract: Extract) -> Generator[Row]:
    unit = replace(extract.unit, reading=replace(extract.unit.reading, carried=None))
    if extract.start_bytes is None:
        yield from arrow_rows(storage, unit)
        return
    start = io.BytesIO(storage.read_start(unit.file.stored, extract.start_bytes))
    with closing(FORMATS[unit.file.format].rows(start, unit)) as rows:
        last: Row | None = None
        for row in rows:
            if last is not None:
                yield last
            last = row
        if last is not None and not last.get("reason"):  # else it is what was cut off, no damage
            yield last


def _chosen(held: list[Row], place: SamplePlace) -> list[Row]:
    """Neighbours, from the place on and around the end."""
    if place.is_all:
        return held
    first, size, chosen = int(place.at * len(held)), 0, []
    for number in range(min(PLACE_DOCUMENTS, len(held))):
        row = held[(first + number) % len(held)]
        chosen.append(row)
        size += text_size(row)
        if size >= PLACE_TEXT_BYTES:
            break
    return chosen


def text_size(row: Row) -> int:
    """Counts the bytes of a document's text as UTF-8; none of one that can't be read."""
    text = row.get("text")
    if text is None:
        return 0
    if isinstance(text, pa.StringArray):
        return int(text.nbytes)
    return len(text) if text.isascii() else len(text.encode())
