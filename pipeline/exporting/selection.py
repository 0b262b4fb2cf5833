"""Which rows of a snapshot an export has, and which columns of them.

Both are DuckDB's own expressions, in a database that can read nothing else. Without text rows come as they lie in the
table. The difference to an older snapshot is that of the two exports: what must be put into the older one, by id, to
get the newer one.
"""

import contextlib
import difflib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from pipeline.errors import ConfigError, StorageError
from pipeline.messages import listed
from pipeline.tables.predictions import open_predictions
from pipeline.tables.snapshots import Manifest, SnapshotFile, Snapshots

if TYPE_CHECKING:
    import pyarrow.dataset as pa_dataset

MEMORY = "1GB"  # what sorting and joining may take; the rest goes to the disk
CHANGE = "change"  # the column that says what a row of a difference is
SOURCE = ("rookery_source_uri", "rookery_source_position", "rookery_content_sha256")  # where a row's text is
_ROW = "rookery_row_id"
_SETTINGS = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoload_known_extensions": "false",
    "memory_limit": MEMORY,
    "threads": "1",  # several give the batches of an Arrow table back in another order
}


@dataclass(frozen=True, slots=True)
class Selection:
    """DuckDB's select list and condition, over the columns of the predictions; all without them.

    `since`: only what differs from the export of this older snapshot, with CHANGE, sorted by id. `with_source`: with
    SOURCE, and sorted by them.
    """

    columns: str | None = None
    where: str | None = None
    since: Manifest | None = None
    with_source: bool = False

    @property
    def is_part(self) -> bool:
        """Whether it may have fewer rows than the snapshot."""
        return self.where is not None or self.since is not None


@contextlib.contextmanager
def closed_database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a DuckDB in memory that can't reach files, networks, extensions or this program's variables."""
    with (
        tempfile.TemporaryDirectory(prefix="rookery-") as folder,
        duckdb.connect(config=_SETTINGS | {"temp_directory": folder}) as connection,
    ):
        connection.execute("SET lock_configuration = true")
        yield connection


def select_rows(
    connection: duckdb.DuckDBPyConnection, snapshots: Snapshots, manifest: Manifest, selection: Selection
) -> duckdb.DuckDBPyRelation:
    """Gives the rows of an export, which are read when the relation is.

    Raises ConfigError for expressions that DuckDB doesn't take over these columns, and for snapshots that have no
    difference.
    """
    if selection.since:
        rows = _difference(connection, snapshots, selection.since, manifest, selection)
    else:
        rows = _selected(connection.from_arrow(_opened(snapshots, manifest)), selection)
        rows = rows.order(", ".join(SOURCE)) if selection.with_source else rows
    names = [name.casefold() for name in rows.columns]
    if twice := next((name for name in rows.columns if names.count(name.casefold()) > 1), None):
        raise ConfigError(f"--columns: the export would have {twice!r} twice, in any case; name one of them with AS")
    return rows


def read_tables(rows: duckdb.DuckDBPyRelation, table_rows: int, table_uri: str) -> Iterator[pa.Table]:
    """Reads a relation as tables of `table_rows`, the last one of fewer; one without rows where there are none.

    Raises ConfigError where an expression of the user's fails on a value, StorageError where the table can't be read.
    """
    try:
        reader = rows.to_arrow_reader(table_rows)
        held, is_first = reader.schema.empty_table(), True
        for batch in reader:
            held = pa.concat_tables([held, pa.Table.from_batches([batch])])
            while len(held) >= table_rows:
                yield held.slice(0, table_rows)
                held, is_first = held.slice(table_rows), False
        if len(held) or is_first:
            yield held
    except (duckdb.Error, pa.ArrowException) as error:
        if isinstance(error, duckdb.Error) and "Arrow source failed" not in str(error):
            raise ConfigError(f"--where or --columns: DuckDB says of a row: {_said(error)}") from error
        raise _unreadable(table_uri, error) from error


def _opened(snapshots: Snapshots, manifest: Manifest) -> "pa_dataset.Dataset":
    try:
        return open_predictions(snapshots, manifest)
    except FileNotFoundError as error:
        raise _unreadable(snapshots.table_uri, error) from error


def _unreadable(table_uri: str, error: Exception) -> StorageError:
    return StorageError(
        f"{table_uri}: can't be read ({_said(error)}); run again; if a file is gone, a vacuum may have deleted the "
        "snapshot meanwhile"
    )


def _selected(predictions: duckdb.DuckDBPyRelation, selection: Selection) -> duckdb.DuckDBPyRelation:
    """The selected rows and columns; before them, where they are needed, the row's id and SOURCE."""
    rows, columns = predictions, selection.columns or "*"
    with _explained("--columns", columns, predictions):
        rows.project(columns)
    if (where := selection.where) is not None:
        with _explained("--where", where, predictions):
            rows = rows.filter(where)
    first = [f"id AS {_ROW}"] if selection.since else []
    if selection.with_source:
        first += [f"{column.removeprefix('rookery_')} AS {column}" for column in SOURCE]
    return rows.project(", ".join([*first, columns]))


@contextlib.contextmanager
def _explained(option: str, given: str, predictions: duckdb.DuckDBPyRelation) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        there = predictions.columns
        unknown = re.search(r'Referenced column "(.*?)" not found', str(error))
        near = difflib.get_close_matches(unknown[1], there, n=1) if unknown else []
        if unknown:
            raise ConfigError(
                f"{option} {given!r}: there is no column {unknown[1]!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
                + f" The table has {listed(there, len(there))}"
            ) from error
        raise ConfigError(f"{option} {given!r}: not an expression that DuckDB takes here: {_said(error)}") from error


def _said(error: Exception) -> str:
    """The first line of what a library says, without the kind of error before it."""
    return re.sub(r"^[A-Z][\w ]* Error: ", "", str(error)).partition("\n")[0]


def _difference(
    connection: duckdb.DuckDBPyConnection, snapshots: Snapshots, before: Manifest, after: Manifest, selection: Selection
) -> duckdb.DuckDBPyRelation:
    """Rows that differ, with their CHANGE, by id; those that were removed as they were before."""
    for manifest in (before, after):
        if repeated := manifest.counts["duplicate_ids"]:
            raise ConfigError(
                f"--since {before.snapshot}: snapshot {manifest.snapshot} has {repeated:,} ids that several documents "
                "have, so that no change can be told by id; export all of it"
            )
    sides = [
        _selected(connection.from_arrow(_own_rows(snapshots, one, other)), selection)
        for one, other in ((before, after), (after, before))
    ]
    if (sides[0].columns, sides[0].types) != (sides[1].columns, sides[1].types):
        raise ConfigError(
            f"--since {before.snapshot}: its export has other columns than that of snapshot {after.snapshot} "
            f"({_columns(sides[0])}, and now {_columns(sides[1])}); export all of it, or name columns that both have"
        )
    for side, name in zip(sides, ("before_rows", "after_rows"), strict=True):
        side.create_view(name)
    rows = connection.sql(
        f"""
        SELECT CASE WHEN b.{_ROW} IS NULL THEN 'added' WHEN a.{_ROW} IS NULL THEN 'removed' ELSE 'changed' END
          AS {CHANGE}, unnest(if(a.{_ROW} IS NULL, b, a))
        FROM after_rows a FULL JOIN before_rows b ON a.{_ROW} = b.{_ROW}
        WHERE a IS DISTINCT FROM b
        """
    )
    order = [_ROW]
    if selection.with_source:  # the text of what was removed is nobody's to give
        order = [*SOURCE, _ROW]
        nulls = ", ".join(f"if({CHANGE} = 'removed', NULL, {column}) AS {column}" for column in SOURCE)
        rows = rows.project(f"* REPLACE ({nulls})")
    return rows.order(", ".join(order)).project(f"* EXCLUDE ({_ROW})")


def _own_rows(snapshots: Snapshots, manifest: Manifest, other: Manifest) -> "pa_dataset.Dataset | pa.Table":
    """The rows of a snapshot's files that another one has not."""
    theirs = {_contents(file) for file in other.files}
    files = [file for file in manifest.files if file.kind == "data" and _contents(file) not in theirs]
    if not files:
        return _opened(snapshots, manifest).schema.empty_table()
    return _opened(snapshots, replace(manifest, files=files))


def _contents(file: SnapshotFile) -> tuple[object, ...]:
    return file.sha256, *sorted(file.partition.items())  # of which a file's bytes say nothing


def _columns(rows: duckdb.DuckDBPyRelation) -> str:
    return listed([f"{name} {kind}" for name, kind in zip(rows.columns, rows.types, strict=True)], 20)
