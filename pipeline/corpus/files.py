"""Find the corpus's files, and say of each what it is: format, compression, hive partition values."""

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote

import pyarrow as pa

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.delta import read_delta
from pipeline.corpus.foreign_tables import delta_table, refuse_foreign_tables
from pipeline.corpus.formats import (
    FORMATS,
    Compression,
    Format,
    endings,
    format_of,
    of_one_format,
)
from pipeline.corpus.json_values import MalformedJsonError
from pipeline.errors import ConfigError, CorpusError
from pipeline.schema import HIVE_NULL
from pipeline.storage.listings import Listing, StoredFile
from pipeline.storage.objects import Storage


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


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the settings' URIs mean."""

    files: tuple[CorpusFile, ...]  # sorted by URI, each once
    left_out: tuple[str, ...]  # URIs of files that lie there too: of another kind than a folder's data, or hidden
    delta_tables: tuple[tuple[str, int], ...]  # URI and version of those that were read


def discover(storage: Storage, settings: CorpusSettings) -> Corpus:
    """Finds all files of the corpus.

    Raises CorpusError where a URI matches nothing, a file's format can't be told, a folder holds several formats or is
    a table whose files are not all valid; ConfigError for a pattern or `carry` that can't be; AccessError,
    StorageError.
    """
    found: dict[str, CorpusFile] = {}
    left_out: set[str] = set()
    tables: dict[str, int] = {}
    for uri in settings.uris:
        listing = storage.look(uri)
        if delta_table(listing):
            tables[listing.root], files = _of_delta_table(storage, uri, listing, settings.format)
        else:
            files, others = _of_listing(storage, uri, listing, settings.format)
            left_out.update(others)
        found |= {file.uri: file for file in files}
    corpus = Corpus(
        files=tuple(found[uri] for uri in sorted(found)),
        left_out=tuple(sorted(left_out - found.keys())),
        delta_tables=tuple(sorted(tables.items())),
    )
    _check_carry(corpus.files, settings.carry)
    return corpus


def partition_keys(files: Iterable[CorpusFile]) -> dict[str, str]:
    """Every hive key of the corpus, in order of appearance, each with a file that has it."""
    keys: dict[str, str] = {}
    for file in files:
        for key, _ in file.partitions:
            keys.setdefault(key, file.uri)
    return keys


def _of_listing(storage: Storage, uri: str, listing: Listing, declared: str) -> tuple[list[CorpusFile], list[str]]:
    refuse_foreign_tables(storage, uri, listing)
    seen = [file for file in listing.files if not _is_hidden(file.uri, listing.root)]
    hidden = [file.uri for file in listing.files if _is_hidden(file.uri, listing.root)]
    left_out = [uri for uri in hidden if format_of(uri)]  # and not another system's marks
    if odd := [name for name in listing.odd if not _is_hidden(f"file://{name}", listing.root)]:
        raise CorpusError(
            f"corpus.uris {uri}: {odd[0]} is a link to a folder or to nothing, or no file at all, and is not followed; "
            "name "
            "what it leads to in corpus.uris, or remove it"
        )
    if listing.is_folder:
        seen, others = of_one_format(uri, seen, declared)
        left_out += [file.uri for file in others]
    if not seen:
        raise CorpusError(
            f"corpus.uris {uri}: no file matches; check the path, `**` crosses folders"
            + (f" ({len(left_out):,} left out, {left_out[0]} among them)" if left_out else "")
        )
    return [_describe(file, declared) for file in seen], left_out


def _of_delta_table(storage: Storage, uri: str, listing: Listing, declared: str) -> tuple[int, list[CorpusFile]]:
    if declared not in ("auto", "parquet"):
        raise CorpusError(f"corpus.uris {uri}: is a Delta table, which holds Parquet; corpus.format is {declared}")
    version, files = read_delta(storage, listing)
    if not files:
        raise CorpusError(f"corpus.uris {uri}: version {version} of this Delta table is empty")
    return version, [CorpusFile(file.stored, "parquet", None, file.partitions) for file in files]


def _check_carry(files: Iterable[CorpusFile], carry: tuple[str, ...] | None) -> None:
    keys = partition_keys(files) if carry else {}
    for key in carry or ():
        if key not in keys:
            raise ConfigError(f"corpus.carry {key!r}: the corpus has no such hive key; found {list(keys) or 'none'}")


def _describe(stored: StoredFile, declared: str) -> CorpusFile:
    folders = stored.uri.rpartition("/")[0]
    own, compression = endings(stored.uri)
    format_ = FORMATS.get(own) if declared == "auto" else declared
    if format_ not in ("parquet", "jsonl", "csv", "text"):
        raise CorpusError(
            f"{stored.uri}: can't tell the format from the ending; expected {', '.join(FORMATS)} "
            "(or with .gz, .zst); set corpus.format or narrow corpus.uris"
        )
    if format_ == "parquet" and compression:
        raise CorpusError(f"{stored.uri}: a compressed Parquet file can't be cut; expected plain .parquet")
    return CorpusFile(stored, cast(Format, format_), compression, _hive_partitions(stored.uri, folders))


def _hive_partitions(uri: str, folders: str) -> tuple[tuple[str, str | None], ...]:
    values: dict[str, str | None] = {}
    for segment in folders.split("/"):
        escaped, separator, value = segment.partition("=")
        if not separator or not escaped:
            continue
        key, found = _unescaped(escaped), None if value == HIVE_NULL else _unescaped(value) or None
        if values.setdefault(key, found) != found:
            raise CorpusError(
                f"{uri}: the path has the hive key {key!r} twice, as {values[key]!r} and as {found!r}; rename one of "
                "the folders"
            )
    return tuple(values.items())


def _unescaped(text: str) -> str:
    """Percent signs that hide no UTF-8 stay, or two values would become one."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _is_hidden(uri: str, root: str) -> bool:
    """Whether it is another system's marker or scratch file below `root`: _SUCCESS, .crc files, _delta_log/."""
    return any(segment.startswith((".", "_")) and "=" not in segment for segment in uri.removeprefix(root).split("/"))


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
