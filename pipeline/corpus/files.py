"""Find the corpus's files, and say of each what it is: format, compression, hive partition values."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import unquote

import pyarrow as pa

from pipeline.config import CorpusSettings
from pipeline.corpus.json_values import MalformedJsonError
from pipeline.errors import CorpusError
from pipeline.schema import HIVE_NULL
from pipeline.storage import Storage, StoredFile

Format = Literal["parquet", "jsonl", "csv", "text"]
Compression = Literal["gzip", "zstd"]

FORMATS: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".csv": "csv",
    ".txt": "text", ".text": "text", ".md": "text",
}  # fmt: skip
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One input file, at the version that was listed."""

    stored: StoredFile
    format: Format
    compression: Compression | None
    partitions: tuple[tuple[str, str | None], ...]  # hive keys and values, in path order

    @property
    def uri(self) -> str:
        return self.stored.uri


def discover(storage: Storage, settings: CorpusSettings) -> list[CorpusFile]:
    """All files of the corpus, sorted by URI, each once.

    Raises CorpusError where a URI matches nothing or a file's format can't be told; AccessError, StorageError.
    """
    found: dict[str, StoredFile] = {}
    for uri in settings.uris:
        root = _named_folder(storage.canonical(uri))
        matches = [file for file in storage.find(uri) if not _is_hidden(file.uri, root)]
        if not matches:
            raise CorpusError(
                f"corpus.uris {uri}: no file matches; check the path, `**` crosses folders"
            )
        found |= {file.uri: file for file in matches}
    return [_describe(found[uri], settings.format) for uri in sorted(found)]


def partition_keys(files: list[CorpusFile]) -> list[str]:
    """Every hive key of the corpus, in order of appearance."""
    return list(dict.fromkeys(key for file in files for key, _ in file.partitions))


def _describe(stored: StoredFile, declared: str) -> CorpusFile:
    folders, name = stored.uri.rpartition("/")[::2]
    stem, dot, ending = name.rpartition(".")
    compression = COMPRESSIONS.get(f"{dot}{ending}".lower())
    if compression:
        dot, ending = stem.rpartition(".")[1:]
    format_ = FORMATS.get(f"{dot}{ending}".lower()) if declared == "auto" else declared
    if format_ not in ("parquet", "jsonl", "csv", "text"):
        raise CorpusError(
            f"{stored.uri}: can't tell the format from the ending; expected {', '.join(FORMATS)} "
            "(or with .gz, .zst); set corpus.format or narrow corpus.uris"
        )
    if format_ == "parquet" and compression:
        raise CorpusError(
            f"{stored.uri}: a compressed Parquet file can't be cut; expected plain .parquet"
        )
    return CorpusFile(stored, cast(Format, format_), compression, _hive_partitions(folders))


def _hive_partitions(folders: str) -> tuple[tuple[str, str | None], ...]:
    pairs = (segment.partition("=") for segment in folders.split("/"))
    return tuple(
        (unquote(key), None if value == HIVE_NULL else unquote(value))
        for key, separator, value in pairs
        if separator and key
    )


def _named_folder(uri: str) -> str:
    """What a URI names without a wildcard: itself, or the folder above its first one."""
    fixed, *wild = re.split(r"[*?[]", uri, maxsplit=1)
    return fixed.rpartition("/")[0] if wild else uri


def _is_hidden(uri: str, root: str) -> bool:
    """Whether it is another system's marker or scratch file below `root`: _SUCCESS, .crc files, _delta_log/."""
    return any(
        segment.startswith((".", "_")) and "=" not in segment
        for segment in uri.removeprefix(root).split("/")
    )


@contextmanager
def damage_explained(file: CorpusFile) -> Iterator[None]:
    """Contents that are not what the format says become a CorpusError; what the store raises passes."""
    try:
        yield
    except (
        pa.ArrowInvalid,
        pa.ArrowNotImplementedError,
        csv.Error,
        MalformedJsonError,
        zlib.error,
        EOFError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and not _tells_of_damage(error):
            raise
        raise CorpusError(
            f"{file.uri}: not readable as {file.compression or file.format} ({error}); "
            "repair it or leave it out of corpus.uris"
        ) from error


def _tells_of_damage(error: OSError) -> bool:
    # Arrow's have neither a number nor a class of their own; a store's have one of the two
    return error.errno is None and type(error) in (OSError, gzip.BadGzipFile)
