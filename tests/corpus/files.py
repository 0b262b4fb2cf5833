"""Corpora on local disk, and what the pipeline makes of them."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.files import CorpusFile, discover
from pipeline.corpus.passes import passes, read_pass
from pipeline.corpus.slices import Unit
from pipeline.corpus.units import cut
from pipeline.schema import DOCUMENTS
from pipeline.storage.objects import Storage

STORAGE = Storage()
Row = dict[str, Any]


def found(*uris: Path | str, **settings: Any) -> list[CorpusFile]:
    return list(discover(STORAGE, CorpusSettings(uris=tuple(map(str, uris)), **settings)).files)


def names(files: list[CorpusFile]) -> list[str]:
    return [file.uri.rpartition("/")[2] for file in files]


def units_of(path: Path, text_bytes: int = 16_000_000, **settings: Any) -> list[Unit]:
    """Of a file, or of every file in a folder, of whatever format."""
    uri = f"{path}/**" if path.is_dir() else str(path)
    corpus = CorpusSettings(uris=(uri,), **settings)
    return cut(STORAGE, discover(STORAGE, corpus).files, corpus, text_bytes)


def read(storage: Storage, unit: Unit) -> pa.Table:
    """All documents of a unit, of a stream those of all its parts."""
    tables = [table for _, table in read_pass(storage, (unit,))]
    return pa.concat_tables(tables) if tables else DOCUMENTS.empty_table()


def read_units(units: list[Unit]) -> list[Row]:
    tables = [read(STORAGE, unit) for unit in units]
    return pa.concat_tables(tables).to_pylist() if tables else []


def rows_of(path: Path, text_bytes: int = 16_000_000, **settings: Any) -> list[Row]:
    """All documents of all units of a corpus, read as the job reads them."""
    together = passes(units_of(path, text_bytes, **settings))
    return [row for units in together for _, table in read_pass(STORAGE, units) for row in table.to_pylist()]


def texts_of(path: Path, text_bytes: int = 16_000_000, **settings: Any) -> list[str | None]:
    return [row["text"] for row in rows_of(path, text_bytes, **settings)]


def problems_of(path: Path, **settings: Any) -> list[str | None]:
    return [row["reason"] for row in rows_of(path, **settings)]


def put(path: Path, data: bytes | str = b"{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
