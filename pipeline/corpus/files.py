"""Find the corpus's files, and say of each what it is: format, compression, hive partition values."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, groupby
from urllib.parse import unquote

from pipeline.config.corpus import CorpusSettings, DeclaredFormat
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.folders import COMPRESSIONS, FORMATS_BY_ENDING, endings, format_of, of_one_format
from pipeline.corpus.foreign_tables import refuse_foreign_tables
from pipeline.corpus.formats import FORMATS
from pipeline.corpus.lake_file import TableVersion
from pipeline.corpus.lake_tables import read_table
from pipeline.errors import ConfigError, CorpusError
from pipeline.packed import PackedList
from pipeline.schema import HIVE_NULL
from pipeline.storage.listings import Listing, StoredFile
from pipeline.storage.objects import Storage


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the settings' URIs mean."""

    files: Sequence[CorpusFile]  # sorted by URI, each once
    left_out: tuple[str, ...]  # URIs of files that lie there too: of another kind than a folder's data, or hidden
    tables: tuple[TableVersion, ...]  # versions of the lake tables that were read
    commits: tuple[tuple[str, str], ...] = ()  # URI as the job has it, and commit, of a hub's data sets


def discover(storage: Storage, settings: CorpusSettings) -> Corpus:
    """Finds all files of the corpus.

    Raises CorpusError where a URI matches nothing, a file's format can't be told, a folder holds several formats or is
    a table whose files are not all valid; ConfigError for a pattern or `carry` that can't be; AccessError,
    StorageError.
    """
    listed: list[Sequence[CorpusFile]] = []  # of each URI, sorted
    left_out: set[str] = set()
    tables: dict[str, TableVersion] = {}
    commits: dict[str, str] = {}
    for uri in settings.uris:
        if table := read_table(storage, uri, settings):
            version, of_table = table
            files: Sequence[CorpusFile] = sorted(of_table, key=lambda file: file.uri)
            if tables.setdefault(version.uri, version) != version:
                raise ConfigError(f"corpus.uris {uri}: names {version}, and {tables[version.uri]}; name one of the two")
        else:
            listing, commit = _look(storage, uri)
            if commit:
                commits[uri] = commit
            files, others = _of_listing(storage, uri, listing, settings.format)
            left_out.update(others)
        listed.append(files)
    files = listed[0] if len(listed) == 1 and not tables else PackedList(_each_once(listed))
    if left_out:
        left_out = left_out.difference(file.uri for file in files)
    corpus = Corpus(
        files=files,
        left_out=tuple(sorted(left_out)),
        tables=tuple(tables[uri] for uri in sorted(tables)),
        commits=tuple(sorted(commits.items())),
    )
    _check_carry(corpus.files, settings.carry)
    return corpus


def _each_once(listed: Iterable[Iterable[CorpusFile]]) -> Iterator[CorpusFile]:
    """Files of several sorted lists in one order; of those with one URI the last list's."""
    merged = heapq.merge(*listed, key=lambda file: file.uri)  # which keeps the order of the lists
    for _, same in groupby(merged, key=lambda file: file.uri):
        *_, file = same
        yield file


def _look(storage: Storage, uri: str) -> tuple[Listing, str | None]:
    """What a URI means, and the commit at which that was listed, of a hub's data set."""
    while True:
        commit = storage.commit(uri)
        listing = storage.look(uri)
        if commit is None or storage.commit(uri) == commit:  # else somebody has pushed meanwhile
            return listing, commit


def partition_keys(files: Iterable[CorpusFile]) -> dict[str, str]:
    """Every hive key of the corpus, in order of appearance, each with a file that has it."""
    keys: dict[str, str] = {}
    for file in files:
        for key, _ in file.partitions:
            keys.setdefault(key, file.uri)
    return keys


def describe_file(stored: StoredFile, declared: DeclaredFormat) -> CorpusFile:
    """Says of one file what it is, by its name and the job's `corpus.format`. Raises CorpusError where that is open."""
    folders = stored.uri.rpartition("/")[0]
    ending, compression = endings(stored.uri)
    format_ = FORMATS_BY_ENDING.get(ending) if declared == "auto" else declared
    if format_ is None:
        raise CorpusError(
            f"{stored.uri}: can't tell the format from the ending; expected {', '.join(FORMATS_BY_ENDING)} "
            f"(or with {', '.join(COMPRESSIONS)}); set corpus.format or narrow corpus.uris"
        )
    if compression and not FORMATS[format_].is_compressible:
        title = FORMATS[format_].title
        raise CorpusError(f"{stored.uri}: a compressed {title} file can't be cut; expected plain .{format_}")
    return CorpusFile(stored, format_, compression, _hive_partitions(stored.uri, folders))


def _of_listing(
    storage: Storage, uri: str, listing: Listing, declared: DeclaredFormat
) -> tuple[Sequence[CorpusFile], list[str]]:
    refuse_foreign_tables(storage, uri, listing)
    is_seen = [not _is_hidden(file.uri, listing.root) for file in listing.files]
    seen = listing.files if all(is_seen) else PackedList(compress(listing.files, is_seen))
    is_hidden = [not is_it for is_it in is_seen]
    hidden = compress(listing.files, is_hidden) if any(is_hidden) else ()
    left_out = [file.uri for file in hidden if format_of(file.uri)]  # and not another system's marks
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
    return PackedList(describe_file(file, declared) for file in seen), left_out


def _check_carry(files: Iterable[CorpusFile], carry: tuple[str, ...] | None) -> None:
    keys = partition_keys(files) if carry else {}
    for key in carry or ():
        if key not in keys:
            raise ConfigError(f"corpus.carry {key!r}: the corpus has no such hive key; found {list(keys) or 'none'}")


def _hive_partitions(uri: str, folders: str) -> tuple[tuple[str, str | None], ...]:
    values: dict[str, str | None] = {}
    for segment in folders.split("/"):
        escaped, separator, value = segment.partition("=")
        if not separator or not escaped:
            continue
        key, partition = _unescaped(escaped), None if value == HIVE_NULL else _unescaped(value) or None
        if values.setdefault(key, partition) != partition:
            raise CorpusError(
                f"{uri}: the path has the hive key {key!r} twice, as {values[key]!r} and as {partition!r}; rename one "
                "of the folders"
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
