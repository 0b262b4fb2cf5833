"""Corpora on local disk, and what the pipeline makes of them."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.files import discover
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import passes, read_pass
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
    return list(cut(STORAGE, discover(STORAGE, corpus).files, corpus, text_bytes))


def limited(unit: Unit, max_document_bytes: int) -> Unit:
    """The unit, as a job with another limit reads it."""
    return replace(unit, reading=replace(unit.reading, max_document_bytes=max_document_bytes))


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


def jsonl(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def csv_of(texts: list[str]) -> bytes:
    quoted = [text.replace('"', '""') for text in texts]
    return "".join(["n,text\n", *(f'{i},"{text}"\n' for i, text in enumerate(quoted))]).encode()


def parquet_of(texts: list[Any], type_: pa.DataType | None = None) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(texts, type_)}), file, row_group_size=4)
    return file.getvalue()


LARGE = "x" * 1000


def json_line(**record: Any) -> bytes:
    return json.dumps(record).encode()
