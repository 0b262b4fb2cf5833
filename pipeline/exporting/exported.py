"""An export: the rows of a snapshot that are asked for, in a format, at a place. Memory holds a few tables of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO

import pyarrow as pa

from pipeline.errors import RookeryError
from pipeline.exporting.destinations import ExportedFile, check_target, write_file, write_parts
from pipeline.exporting.file_formats import FileForm
from pipeline.exporting.selection import Selection, closed_database, read_tables, select_rows
from pipeline.exporting.text_join import TextJoin
from pipeline.storage.objects import Storage
from pipeline.tables.published_corpus import PublishedCorpus
from pipeline.tables.snapshots import Manifest, Snapshots

TABLE_ROWS = 2**16
PART_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """Where an export goes: a URI, a folder's with a slash at its end, or `file`, a pipe that is open."""

    uri: str
    form: FileForm
    overwrite: bool = False
    part_rows: int = PART_ROWS
    file: BinaryIO | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported. `texts_missing`: rows whose text is not in the corpus any more, or is another one by now."""

    manifest: Manifest
    files: list[ExportedFile]
    texts_missing: int = 0


def export_snapshot(snapshots: Snapshots, manifest: Manifest, selection: Selection, target: Target) -> Exported:
    """Exports a snapshot, or what of it differs from an older one; with texts where the selection is `with_source`.

    Raises:
        ConfigError: an expression is wrong, the target is taken or can't be written.
        CorpusError: a file of the corpus can't be read any more as the job says.
        RookeryError: there are other rows than the manifest says; nothing was put.
        AccessError, StorageError: a store refuses, or fails.
    """
    storage = Storage()
    if not target.file:
        check_target(storage, target.uri, overwrite=target.overwrite)
    join = TextJoin(PublishedCorpus.of(manifest)) if selection.with_source else None
    with closed_database() as connection:
        rows = select_rows(connection, snapshots, manifest, selection)
        tables = read_tables(rows, TABLE_ROWS, snapshots.table_uri)
        if join:
            tables = join.joined(tables)
        facts = _facts(snapshots, manifest, selection)
        tables = _labelled(tables if selection.is_part else _counted(tables, manifest), facts)
        to_text = connection.cursor()  # another query on the same connection would end the one that is read
        if target.file:
            files = [write_file(target.file, "-", target.form, tables, to_text)]
        elif target.uri.endswith("/"):
            files = write_parts(storage, target.uri, target.form, _parts(tables, target.part_rows), facts, to_text)
        else:
            with storage.writing(target.uri) as file:
                files = [write_file(file, target.uri, target.form, tables, to_text)]
    return Exported(manifest, files, join.missing if join else 0)


def _facts(snapshots: Snapshots, manifest: Manifest, selection: Selection) -> dict[str, str | int | None]:
    """What an export is of: in a folder's marker, and in the schemas of Parquet and Arrow."""
    return {
        "table": snapshots.storage.canonical(snapshots.table_uri),
        "snapshot": manifest.snapshot,
        "since": selection.since.snapshot if selection.since else None,
        "columns": selection.columns,
        "where": selection.where,
    }


def _labelled(tables: Iterable[pa.Table], facts: dict[str, str | int | None]) -> Iterator[pa.Table]:
    metadata = {f"rookery.{name}": str(fact) for name, fact in facts.items() if fact is not None}
    return (table.replace_schema_metadata(metadata) for table in tables)


def _counted(tables: Iterable[pa.Table], manifest: Manifest) -> Iterator[pa.Table]:
    """Passes on the tables of a whole export. Raises RookeryError at the end where they are not all."""
    rows = 0
    for table in tables:
        rows += len(table)
        yield table
    if rows != manifest.counts["predictions"]:
        raise RookeryError(
            f"snapshot {manifest.snapshot}: {rows:,} rows were read, and its manifest says "
            f"{manifest.counts['predictions']:,}; nothing was put"
        )


def _parts(tables: Iterable[pa.Table], part_rows: int) -> Iterator[Iterator[pa.Table]]:
    for _, numbered in groupby(_numbered(tables, part_rows), itemgetter(0)):
        yield (table for _, table in numbered)


def _numbered(tables: Iterable[pa.Table], part_rows: int) -> Iterator[tuple[int, pa.Table]]:
    """The tables, cut where a part ends, each with the number of its part."""
    at = 0
    for table in tables:
        start = 0
        while start < len(table) or not len(table):
            taken = table.slice(start, part_rows - at % part_rows)
            yield at // part_rows, taken
            start, at = start + len(taken), at + len(taken)
            if not len(table):
                break
