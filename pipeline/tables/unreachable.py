"""The objects of a table that nothing needs, found by one listing of all that lies below it.

Kept ones are counted where they are listed and forgotten there, folder by folder, so that memory holds a row for each
unreachable object (about 120 bytes) and the largest folder's listing, 16 of them at a time.
"""

from collections import defaultdict
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.storage.objects import TRANSFERS
from pipeline.storage.table_marks import marked_tables
from pipeline.tables.object_names import object_name
from pipeline.tables.reachability import Needs
from pipeline.tables.snapshots import Snapshots

UNREACHABLE = pa.schema([
    ("path", pa.string()),  # relative to the table
    ("kind", pa.string()),
    ("bytes", pa.int64()),
    ("modified", pa.float64()),  # seconds, by the store's clock; 0 where it doesn't tell
])  # fmt: skip
UNKNOWN_SHOWN = 5
TABLE_FOLDERS = ("_snapshots", "_delta_log")  # of a table that lies around this one


class Amount(NamedTuple):
    """A number of objects, and their bytes together."""

    objects: int = 0
    bytes: int = 0

    def plus(self, objects: int, size: int) -> "Amount":
        """Adds to it."""
        return Amount(self.objects + objects, self.bytes + size)


@dataclass(slots=True)
class Findings:
    """What lies below a table.

    `kept`: by kind and reason. `unreachable`: rows of UNREACHABLE. `unknown`: what no Rookery wrote, with the first
    paths.
    """

    kept: dict[tuple[str, str], Amount] = field(default_factory=lambda: defaultdict(Amount))
    unreachable: pa.Table = field(default_factory=UNREACHABLE.empty_table)
    unknown: Amount = field(default_factory=Amount)
    unknown_paths: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Adds what was found in another folder, but for its unreachable rows."""
        for key, amount in other.kept.items():
            self.kept[key] = self.kept[key].plus(*amount)
        self.unknown = self.unknown.plus(*other.unknown)
        self.unknown_paths = sorted(self.unknown_paths + other.unknown_paths)[:UNKNOWN_SHOWN]


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str  # relative to the table
    is_whole: bool  # all that lies below it, or only the files right in it


def find_unreachable(snapshots: Snapshots, needs: Needs) -> Findings:
    """Lists a table and says of each object whether something needs it. `needs`: read before.

    Raises:
        ConfigError: another table lies inside the table's folder or around it, or a file that a kept snapshot needs is
            not listed: then a listing can't tell what may go.
        StorageError: the store failed.
    """
    _check_nothing_around(snapshots)
    find = _Finder(snapshots, needs, snapshots.storage.canonical(snapshots.table_uri).rstrip("/") + "/")
    found, unreachable = Findings(), [UNREACHABLE.empty_table()]
    needed = (_Folder(path, is_whole=True) for path in find.kept_folders)  # there or not
    folders = {folder.path: folder for folder in (*needed, *_folders(snapshots))}
    with ThreadPoolExecutor(TRANSFERS) as pool:
        for part in pool.map(find, folders.values()):
            found.add(part)
            unreachable.append(part.unreachable)
    found.unreachable = pa.concat_tables(unreachable).sort_by("path")
    return found


def _folders(snapshots: Snapshots, path: str = "") -> Iterator[_Folder]:
    """Cuts a table into listings: a snapshot's folder of a kind, one of a key's 256 folders of fragments, and so on."""
    yield _Folder(path, is_whole=False)
    for uri in snapshots.storage.folders_in(snapshots.uri(path)):
        below = f"{path}/{uri.rpartition('/')[2]}".lstrip("/")
        if below.count("/") >= (2 if below.startswith("_units/") else 1):
            yield _Folder(below, is_whole=True)
        else:
            yield from _folders(snapshots, below)


def _check_nothing_around(snapshots: Snapshots) -> None:
    above = snapshots.storage.canonical(snapshots.table_uri).rstrip("/").rpartition("/")[0]
    while not above.endswith((":/", ":")):
        for name in TABLE_FOLDERS:
            if snapshots.storage.is_folder(f"{above}/{name}"):
                raise ConfigError(
                    f"{snapshots.table_uri}: lies inside another table, {above}, which has a {name}/; its files can't "
                    "be told from this table's, so nothing is deleted: move one of the two"
                )
        above = above.rpartition("/")[0]


class _Finder:
    """Judges the objects of one folder."""

    def __init__(self, snapshots: Snapshots, needs: Needs, table_uri: str) -> None:
        self._snapshots = snapshots
        self._needs = needs
        self._table_uri = table_uri  # canonical, with a slash at its end
        self.kept_folders = {
            snapshots.folder(kind, number).rstrip("/"): number
            for number in needs.snapshots
            for kind in ("data", "errors")
        }

    def __call__(self, folder: _Folder) -> Findings:
        storage, uri = self._snapshots.storage, self._snapshots.uri(folder.path)
        files = storage.find(uri) if folder.is_whole else storage.files_in(uri)
        listed = {self._path(file.uri): file for file in files}
        if folder.path in self.kept_folders:
            self._check_complete(folder.path, listed)
        found, rows = Findings(), []
        for path, file in listed.items():
            name = object_name(path)
            if name is None:
                self._check_no_other_table(path)
                found.unknown = found.unknown.plus(1, file.size)
                found.unknown_paths = [*found.unknown_paths, path][:UNKNOWN_SHOWN]
            elif reason := self._needs.reason(path, name, file.modified):
                found.kept[name.kind, reason] = found.kept[name.kind, reason].plus(1, file.size)
            else:
                rows.append({"path": path, "kind": name.kind, "bytes": file.size, "modified": file.modified})
        found.unreachable = pa.Table.from_pylist(rows, UNREACHABLE)
        return found

    def _path(self, uri: str) -> str:
        if not uri.startswith(self._table_uri):
            raise ConfigError(f"{uri}: was listed below {self._table_uri}, and is not; nothing was deleted")
        return uri[len(self._table_uri) :]

    def _check_complete(self, folder: str, listed: Container[str]) -> None:
        """A listing that lacks what is needed is not to be believed, whatever the reason."""
        number = self.kept_folders[folder]
        files = self._snapshots.read(number).files
        missing = [file.path for file in files if file.path.startswith(f"{folder}/") and file.path not in listed]
        if missing:
            raise ConfigError(
                f"{self._table_uri}{missing[0]}: snapshot {number} needs it, and the listing of the table lacks it "
                f"({len(missing):,} such files); nothing was deleted. If nobody rewrites the table right now, that "
                f"snapshot is damaged: roll back to one that is whole, and keep no snapshots as old as {number}"
            )

    def _check_no_other_table(self, path: str) -> None:
        systems = [table.system for table in marked_tables(f"/{path}")]
        if "/_snapshots/" in path:
            systems.append("Rookery")
        if systems:
            raise ConfigError(
                f"{self._table_uri}{path}: belongs to a table of {systems[0]} inside this one, which may need what "
                "lies here; nothing was deleted: move one of the two"
            )
