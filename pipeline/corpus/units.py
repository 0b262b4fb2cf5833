"""Cut files into units without reading text. How a file is cut is for its format to say."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.carried import CarriedColumns
from pipeline.corpus.columns import named_columns
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.deleted_rows import numbers_digest, read_deleted
from pipeline.corpus.formats import FORMATS
from pipeline.corpus.lake_file import LakeFile
from pipeline.corpus.slices import Reading, Unit, Unreadable, WholeFile
from pipeline.errors import CorpusError, SourceChangedError
from pipeline.mapped import Mapped
from pipeline.packed import PackedList
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
) -> PackedList[Unit]:
    """All units of the files, in order. Reads footers and first bytes, several files at a time, but no text.

    `mapped` spreads the files where they are many: each costs a request or two, and one process sends some hundreds a
    second.

    Raises CorpusError if not one file of a format can be read, if a CSV file's header is no use, or if a Parquet file
    has a column of `carried` as another type.
    """
    unread = iter(files)
    together = iter(lambda: list(itertools.islice(unread, TOGETHER)), [])
    spread: Mapped = mapped if len(files) >= MANY_FILES else map
    cutter = Cutter(storage, replace(reading_of(settings), carried=carried), named_columns(settings), text_bytes)
    return PackedList(_some_readable(itertools.chain.from_iterable(spread(cutter, together))))


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
        if file.lake is None:
            return list(self._units(file))
        try:
            return list(self._without_deleted(file, file.lake))
        except SourceChangedError as error:
            raise CorpusError(
                f"{file.lake.table} names {file.uri}, which can't be read as it says ({error}); choose a version whose "
                "files are kept, or restore the file"
            ) from error

    def _units(self, file: CorpusFile) -> Iterator[Unit]:
        whole = Unit(file, WholeFile(), self.reading)
        return FORMATS[file.format].cut(self.storage, whole, self.columns, self.text_bytes)

    def _without_deleted(self, file: CorpusFile, lake: LakeFile) -> Iterator[Unit]:
        """Units of a lake table's file that have rows which are not deleted, with their number."""
        deleted = read_deleted(self.storage, lake.deletes) if lake.deletes else None
        if not deleted:  # not one of this file's: then it is as if nobody had deleted any
            yield from self._units(replace(file, lake=replace(lake, deletes=())))
            return
        for unit in self._units(replace(file, lake=replace(lake, deleted=numbers_digest(deleted)))):
            assert unit.documents is not None, "a lake table's files are Parquet, whose footers tell"
            first = unit.slice.first_position
            documents = unit.documents - deleted.range_cardinality(first, first + unit.documents)
            if documents:
                yield replace(unit, documents=documents)


def _some_readable(units: Iterable[Unit]) -> Iterator[Unit]:
    """Gives units again, and raises CorpusError at their end if not one of a format can be read."""
    problems: dict[FormatName, Unreadable | None] = {}  # of the first unit, as long as others have one too
    for unit in units:
        problem = unit.slice.unreadable
        problems[unit.file.format] = problems.setdefault(unit.file.format, problem) if problem else None
        yield unit
    for problem in filter(None, problems.values()):
        raise CorpusError(problem.message)
