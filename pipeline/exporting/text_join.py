"""The text beside each row of an export, read again from the corpus file by file."""

from collections.abc import Iterable, Iterator
from itertools import tee

import pyarrow as pa

from pipeline.corpus.texts import ScoredText, scored_texts
from pipeline.errors import ConfigError
from pipeline.exporting.selection import SOURCE
from pipeline.tables.published_corpus import PublishedCorpus

TEXT = "text"  # the column
JOINED_BYTES = 32_000_000  # of a table, about


class TextJoin:
    """Joins texts to tables with SOURCE, sorted by it; counts in `missing` those that can't be had any more."""

    def __init__(self, corpus: PublishedCorpus) -> None:
        self._corpus, self.missing = corpus, 0

    def joined(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Gives the tables with TEXT in the place of SOURCE, in smaller ones where the texts are large.

        A text that isn't there any more, or is another one by now, is null; so is that of a row that was removed.

        Raises ConfigError where there is such a column already; CorpusError, AccessError, StorageError.
        """
        rows, ahead = tee(tables)
        wanted = (text for table in ahead for text in _scored_texts(table) if text)
        texts = scored_texts(self._corpus.storage, self._corpus.settings, wanted)
        for table in rows:
            others = table.drop_columns(list(SOURCE))
            if twice := next((name for name in others.column_names if name.casefold() == TEXT), None):
                raise ConfigError(
                    f"--with-text: the export has a column {twice!r} already; rename it in --columns by AS"
                )
            start, held = 0, _Texts()
            for text in _scored_texts(table):
                held.add(next(texts) if text else None)
                self.missing += bool(text) and held.values[-1] is None
                if held.bytes >= JOINED_BYTES:
                    yield held.beside(others.slice(start, len(held.values)))
                    start, held = start + len(held.values), _Texts()
            if held.values or not len(table):
                yield held.beside(others.slice(start))


class _Texts:
    def __init__(self) -> None:
        self.values: list[str | None] = []
        self.bytes = 0

    def add(self, text: str | None) -> None:
        self.values.append(text)
        self.bytes += len(text or "")

    def beside(self, rows: pa.Table) -> pa.Table:
        return rows.append_column(TEXT, pa.array(self.values, pa.string()))


def _scored_texts(table: pa.Table) -> Iterator[ScoredText | None]:
    for uri, position, sha256 in zip(*(table[column].to_pylist() for column in SOURCE), strict=True):
        yield None if uri is None else ScoredText(uri, position, sha256)
