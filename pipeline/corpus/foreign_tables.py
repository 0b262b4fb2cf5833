"""Folders that are tables of other systems: a log in them says which files count, and a listing does not.

Beside the rows that hold, such a folder keeps rows that were deleted or replaced: read as plain files, all would be
labelled.
"""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from pipeline.errors import CorpusError
from pipeline.storage.listings import Listing, StoredFile
from pipeline.storage.objects import Storage
from pipeline.storage.table_marks import ForeignTable, marked_tables

CURES = {
    "Delta": "name the table's own folder",
    "Iceberg": "name the table by its catalog (iceberg://CATALOG/NAMESPACE.TABLE)",
}


def refuse_foreign_tables(storage: Storage, uri: str, listing: Listing) -> None:
    """Raises CorpusError where files that a URI means belong to a table.

    Asks for one more listing at most, two below `data/`.
    """
    if not listing.files:
        return
    for table in (*_tables(listing.below), *_tables_above(storage, listing)):
        inside = f"{table.root}/"
        if any(file.uri.startswith(inside) for file in listing.files):
            cure = CURES.get(table.system, "export its current rows")
            raise CorpusError(
                f"corpus.uris {uri}: {table.root} belongs to a table of {table.system}, whose files also hold rows "
                "that were deleted or "
                f"replaced; {cure}"
            )


def _tables(files: Iterable[StoredFile]) -> set[ForeignTable]:
    return {table for file in files for table in marked_tables(file.uri)}


def _tables_above(storage: Storage, listing: Listing) -> Iterator[ForeignTable]:
    """Of the folders above the one that was listed, those that would put files there: above hive folders and `data`."""
    single = not listing.is_folder and not listing.is_pattern
    start = listing.root.rpartition("/")[0] if single else listing.root
    root = start
    while "=" in root.rpartition("/")[2]:
        root = root.rpartition("/")[0]
    if (single or root != start) and storage.is_folder(f"{root}/_delta_log"):
        yield ForeignTable("Delta", root)
    above, _, name = root.rpartition("/")
    if name == "data" and urlsplit(root).path and storage.is_folder(f"{above}/metadata"):
        yield from _tables(storage.find(f"{above}/metadata"))
