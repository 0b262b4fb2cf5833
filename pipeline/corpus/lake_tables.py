"""Tables of lakes among `corpus.uris`: which of them are some, where they are, and the files that they are read from.

    iceberg://catalog/namespace.table          the current snapshot of a table of a catalog that pyiceberg knows
    iceberg://catalog/namespace.table@v1       a branch, a tag, or a snapshot's id
    delta://s3://bucket/table                  the newest version of the Delta table in a folder
    delta://s3://bucket/table@12               its version 12
    s3://bucket/table                          the newest version too, of a folder with a log

Which version it is is settled when a run is planned: what is committed meanwhile is for the next one.
"""

import re

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.columns import almost, named_columns
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.delta import read_delta
from pipeline.corpus.delta_log import LOG_FOLDER
from pipeline.corpus.iceberg import read_iceberg
from pipeline.corpus.lake_file import TableVersion
from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage
from pipeline.storage.patterns import has_wildcards

ICEBERG_URI = re.compile(r"iceberg://(?P<name>[^@]*)(?:@(?P<version>.*))?")
DELTA_URI = re.compile(r"delta://(?P<folder>.*?)(?:@(?P<version>\d+))?")  # a folder's name may have an @ too


def folder_of(uri: str) -> str | None:
    """Where what a URI of a corpus means is; None for a table whose catalog alone knows."""
    if ICEBERG_URI.fullmatch(uri):
        return None
    match = DELTA_URI.fullmatch(uri)
    return match["folder"] if match else uri


def read_table(storage: Storage, uri: str, settings: CorpusSettings) -> tuple[TableVersion, list[CorpusFile]] | None:
    """The version of the table that a URI means, and its files; None where it means no table.

    Raises what `read_iceberg` and `read_delta` raise, and CorpusError for a table that is empty, is declared to be of
    another format, or lacks a column that the job names.
    """
    wanted = named_columns(settings)
    names = (*wanted, *settings.columns)
    if match := ICEBERG_URI.fullmatch(uri):
        read, files, columns = read_iceberg(storage, match["name"], match["version"], names)
    elif (match := DELTA_URI.fullmatch(uri)) or _has_log(storage, uri):
        folder, version = (match["folder"], match["version"]) if match else (uri, None)
        read, files, columns = read_delta(storage, folder, None if version is None else int(version), names)
    else:
        return None
    if settings.format not in ("auto", "parquet"):
        raise CorpusError(
            f"corpus.uris {uri}: is a table of {read.system}, which holds Parquet; corpus.format is {settings.format}"
        )
    if not files:
        raise CorpusError(f"corpus.uris {uri}: {read} is empty")
    told = {column.name for file in files[:1] if file.lake for column in file.lake.columns}
    for name, setting in wanted.items():  # a label may be a hive key
        if name not in told and setting in ("corpus.text_column", "corpus.id_column"):
            raise CorpusError(
                f"{read} has no column {name!r} ({setting}); it has {', '.join(columns)}{almost(name, columns)}"
            )
    return read, files


def _has_log(storage: Storage, uri: str) -> bool:
    """Costs a request, and spares the listing of a table's data, of which old versions have some too.

    A hub's data sets are files.
    """
    if uri.startswith("hf://"):
        return False
    return not has_wildcards(uri) and storage.is_folder(f"{uri.rstrip('/')}/{LOG_FOLDER}")
