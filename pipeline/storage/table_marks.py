"""Names by which a folder is known to be a table of another system."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# What no other folder has: a part of a path, quick to look for, and the whole with the table's folder as a group.
TABLE_MARKS = {
    "Delta": ("/_delta_log/", re.compile(r"(.*?)/_delta_log/.+")),
    "Iceberg": (
        "/metadata/",
        re.compile(r"(.*)/metadata/(?:v\d+|\d{5,}-[^/]+)(?:\.gz)?\.metadata\.json(?:\.gz)?"),
    ),
    "Hudi": ("/.hoodie", re.compile(r"(.*?)/\.hoodie(?:/.+|_partition_metadata(?:\..+)?)")),
    "Paimon": ("/schema/schema-", re.compile(r"(.*)/schema/schema-\d+")),
}


@dataclass(frozen=True, slots=True)
class ForeignTable:
    """A folder that is a table of another system."""

    system: str
    root: str  # URI of its folder


def marked_tables(path: str) -> Iterator[ForeignTable]:
    """Gives the tables that a path, or URI, is a mark of."""
    for system, (part, mark) in TABLE_MARKS.items():
        if part in path and (match := mark.fullmatch(path)):
            yield ForeignTable(system, match[1])
