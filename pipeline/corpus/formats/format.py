"""What the corpus asks of a file format."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import BinaryIO, ClassVar

import pyarrow as pa

from pipeline.corpus.rows import Row
from pipeline.corpus.slices import Stream, Unit
from pipeline.isolation import search_by_halving
from pipeline.storage.objects import Storage


class Format(ABC):
    """A file format: how its files are named, cut and read. What is said here holds unless a format says otherwise."""

    title: ClassVar[str]  # in messages
    endings: ClassVar[tuple[str, ...]]  # in lower case, with the dot
    is_compressible: ClassVar[bool] = True  # whether it is read from compressed files too
    lies_beside_data: ClassVar[bool] = False  # whether a folder of another format may have such files, as a README
    # whether only records tell which columns a file has: then a run reads the first ones before anything starts
    has_columns_in_records: ClassVar[bool] = True

    def cut(self, storage: Storage, whole: Unit, columns: Mapping[str, str], text_bytes: int) -> Iterator[Unit]:
        """Yield the units of a file, of about `text_bytes` each, in order, without reading its text.

        `whole` is the file as one unit; `columns` are those that the job names, each with the setting that does.

        Raises CorpusError for a file that would spoil the whole run, as a header with a column twice does.
        """
        yield self.stream(whole, text_bytes)

    def stream(self, whole: Unit, text_bytes: int) -> Unit:
        """The file as one that can only be read from its beginning: its parts are counted when it is first read."""
        return Unit(whole.file, Stream(text_bytes), whole.reading)

    @abstractmethod
    def rows(self, file: BinaryIO, unit: Unit) -> Generator[Row]:
        """Yield a row for each document of a unit (see rows.py), and for each that can't be read.

        `file` is the whole file, as it is stored. Raises what the store raises.
        """

    def read_around(self, storage: Storage, unit: Unit, read: Callable[[Unit], pa.Table]) -> Iterator[pa.Table | range]:
        """Yield what can be read of a unit that ends the process which reads it, in order.

        As DOCUMENTS where `read` gives them, and as a range of positions for what can't be read, each an error. `read`
        raises ProcessDied. Here nothing of it can be read: it is one error.
        """
        yield from search_by_halving(unit, read, lambda _: (), lambda _: range(1))
