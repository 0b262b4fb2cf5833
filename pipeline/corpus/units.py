"""Cut files into units without reading text. How a file is cut is for its format to say."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.carried import CarriedColumns
from pipeline.corpus.columns import named_columns
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.formats import FORMATS
from pipeline.corpus.slices import Reading, Unit, Unreadable, WholeFile
from pipeline.errors import CorpusError
from pipeline.mapped import Mapped
from pipeline.storage.objects import TRANSFERS, Storage
from pipeline.terms import FormatName

MANY_FILES = 10_000  # from here on a cluster's tasks look at them: Ray's start costs less than their requests
TOGETHER = 1_000  # files of one such task


def cut(
    storage: Storage,
    files: Sequence[CorpusFile],
    settings: CorpusSettings,
    text_bytes: int,
    mapped: Mapped = map,
    carried: CarriedColumns | None = None,
) -> list[Unit]:
    """All units of the files, in order. Reads footers and first bytes, several files at a time, but no text.

    `mapped` spreads the files where they are many: each costs a request or two, and one process sends some hundreds a
    second.

    Raises CorpusError if not one file of a format can be read, if a CSV file's header is no use, or if a Parquet file
    has a column of `carried` as another type.
    """
    together = [files[start : start + TOGETHER] for start in range(0, len(files), TOGETHER)]
    spread: Mapped = mapped if len(files) > MANY_FILES else map
    cutter = Cutter(storage, replace(reading_of(settings), carried=carried), named_columns(settings), text_bytes)
    units = list(itertools.chain.from_iterable(spread(cutter, together)))
    _refuse_if_none_is_readable(units)
    return units


def reading_of(settings: CorpusSettings) -> Reading:
    """How the settings say that documents are read."""
    return Reading(
        settings.id_column,
        settings.text_column,
        settings.max_document_bytes,
        text_separator=settings.text_separator,
    )


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts some files, several at a time: each waits for the store, not for a core."""

    storage: Storage
    reading: Reading
    columns: Mapping[str, str]  # that the job names, each with the setting that does
    text_bytes: int

    def __call__(self, files: Sequence[CorpusFile]) -> list[Unit]:
        """All units of some files, in order."""
        with ThreadPoolExecutor(TRANSFERS) as pool:
            return [unit for units in pool.map(self._cut, files) for unit in units]

    def _cut(self, file: CorpusFile) -> list[Unit]:
        whole = Unit(file, WholeFile(), self.reading)
        return list(FORMATS[file.format].cut(self.storage, whole, self.columns, self.text_bytes))


def _refuse_if_none_is_readable(units: Iterable[Unit]) -> None:
    by_format: dict[FormatName, list[Unreadable | None]] = defaultdict(list)
    for unit in units:
        by_format[unit.file.format].append(unit.slice.unreadable)
    for problems in by_format.values():
        if problems[0] and all(problems):
            raise CorpusError(problems[0].message)
