"""Documents in lake tables of either kind, and what a job reads of them."""

from typing import Any

import pyarrow as pa

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.files import discover
from pipeline.corpus.slices import Unit
from pipeline.corpus.units import cut
from tests.corpus.files import STORAGE, read

Rows = list[tuple[Any, ...]]


def documents(numbers: list[int], version: int = 0) -> pa.Table:
    return pa.table({"id": [f"d{n}" for n in numbers], "text": [f"text {n} {version}" for n in numbers]})


def units_of(uri: object, text_bytes: int = 2_000, **options: Any) -> list[Unit]:
    corpus = CorpusSettings(uris=(str(uri),), **{"id_column": "id"} | options)
    return list(cut(STORAGE, discover(STORAGE, corpus).files, corpus, text_bytes))


def rows_of(uri: object, text_bytes: int = 2_000, **options: Any) -> Rows:
    """Id and text of each document, as a job reads them; what was planned of them is counted."""
    planned = units_of(uri, text_bytes, **options)
    tables = [read(STORAGE, unit).to_pylist() for unit in planned]
    assert [unit.documents for unit in planned] == [len(table) for table in tables]
    return sorted((row["id"], row["text"]) for table in tables for row in table)
