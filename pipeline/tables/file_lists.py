"""Lists of a snapshot's data files, for engines that load what a list names.

    _snapshots/<n>.files.txt              a URI on each line: BigQuery's NEW_LINE_DELIMITED_MANIFEST, and any script's
    _snapshots/<n>.redshift               the same files as Redshift's COPY … MANIFEST wants them
    _snapshots/<n>.added.txt, <n>.added.redshift    of these, the ones that the parent has not
    _snapshots/<n>.removed.txt            the parent's that are not in this snapshot

They are written before the manifest makes the snapshot visible, and go with its files. Engines want absolute URIs, so
the lists hold for the table where it was written: of a copy the manifest alone is right.
"""

import json
from collections.abc import Iterable
from typing import Protocol


class ListedFile(Protocol):
    """What a list needs of a snapshot's file."""

    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def bytes(self) -> int: ...


def file_lists(table_uri: str, files: Iterable[ListedFile], removed: Iterable[str]) -> dict[str, bytes]:
    """Writes the lists, by what their names end in.

    Args:
        table_uri: absolute, without a slash at its end.
        files: the snapshot's, of every kind; files of data are listed.
        removed: paths of the parent's files that are not in it.
    """
    data = [file for file in files if file.kind == "data"]
    added = [file for file in data if file.state == "added"]
    return {
        ".files.txt": _lines(table_uri, (file.path for file in data)),
        ".redshift": _redshift(table_uri, data),
        ".added.txt": _lines(table_uri, (file.path for file in added)),
        ".added.redshift": _redshift(table_uri, added),
        ".removed.txt": _lines(table_uri, (path for path in removed if path.startswith("data/"))),
    }


def _lines(table_uri: str, paths: Iterable[str]) -> bytes:
    return "".join(f"{table_uri}/{path}\n" for path in paths).encode()


def _redshift(table_uri: str, files: Iterable[ListedFile]) -> bytes:
    entries = [
        {"url": f"{table_uri}/{file.path}", "mandatory": True, "meta": {"content_length": file.bytes}} for file in files
    ]
    return json.dumps({"entries": entries}, indent=1, ensure_ascii=False).encode() + b"\n"
