"""The files of a Delta table's current version, as its log tells them.

Only the log is copied, through our own storage, so that every store works with the credentials that the corpus has
anyway; the library reads the copy. What a file's path and bytes alone don't tell (rows that a deletion vector hides,
columns under other names) is refused.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from pipeline.errors import CorpusError
from pipeline.storage.listings import Listing, StoredFile
from pipeline.storage.objects import Storage

LOG = "/_delta_log/"
# Of these a reader of `id` and `text` need know nothing, or what it must know is looked at below.
HARMLESS = {
    "columnMapping", "deletionVectors", "timestampNtz", "typeWidening", "typeWidening-preview", "v2Checkpoint",
    "vacuumProtocolCheck", "variantType", "variantType-preview", "variantShredding-preview",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """A file of the current version, with the partition values that the log gives it."""

    stored: StoredFile
    partitions: tuple[tuple[str, str | None], ...]


def read_delta(storage: Storage, listing: Listing) -> tuple[int, list[DeltaFile]]:
    """The number of the current version of the table whose folder was listed, and its files.

    Raises:
        CorpusError: the library is missing, the log can't be read, a file is missing, or the table needs more than
        files.
    """
    root = listing.root
    try:
        import deltalake
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise CorpusError(
            f"{root}: is a Delta table, and the library that reads its log is not installed; "
            "pip install 'rookery[delta]' (or deltalake)"
        ) from error
    with tempfile.TemporaryDirectory(prefix="rookery-delta-") as folder:
        _copy_log(storage, listing, Path(folder))
        try:
            table = deltalake.DeltaTable(folder)
            _check_features(root, table)
            added = pa.table(table.get_add_actions())
            return table.version(), list(_files(listing, added))
        except DeltaError as error:
            reason = str(error).partition("\n")[0].replace(folder, root)
            raise CorpusError(
                f"{root}: the log of this Delta table can't be read ({reason}); repair the table, or export its "
                "current rows"
            ) from error


def _copy_log(storage: Storage, listing: Listing, folder: Path) -> None:
    """From the newest checkpoint on, which holds all that came before it."""
    log = listing.root + LOG
    names = {f.uri.removeprefix(log) for f in listing.below if f.uri.startswith(log)}
    first = 0
    if "_last_checkpoint" in names:
        first = int(json.loads(storage.read(f"{log}_last_checkpoint"))["version"])
    elif not any(_version(name) == 0 for name in names):
        raise CorpusError(
            f"{listing.root}: the log of this Delta table lacks its beginning, and has no checkpoint; restore the table"
        )
    wanted = sorted(name for name in names if _version(name, first) >= first)
    for name, data in zip(wanted, storage.read_all([log + name for name in wanted]), strict=True):
        copy = folder / LOG.strip("/") / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)


def _version(name: str, otherwise: int = -1) -> int:
    """Of a commit or a checkpoint; `otherwise` for a part of a checkpoint, whose name says none."""
    match = re.match(r"(\d{20})\.(?:json|checkpoint\..*parquet|checkpoint\..*json)$", name)
    if match:
        return int(match[1])
    return otherwise if name.startswith("_sidecars/") or name == "_last_checkpoint" else -1


def _check_features(root: str, table: Any) -> None:
    from deltalake.exceptions import DeltaError

    features = set(table.protocol().reader_features or [])
    if unknown := sorted(features - HARMLESS):
        raise CorpusError(
            f"{root}: this Delta table needs a reader that knows {', '.join(unknown)}; export its current rows"
        )
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        raise CorpusError(
            f"{root}: this Delta table maps its columns to other names in the files (column mapping); export its "
            "current rows"
        )
    try:
        hidden = pa.table(table.deletion_vectors()).num_rows > 0
    except DeltaError:  # one that lies in a file of its own, and so not in the copy
        hidden = True
    if hidden:
        raise CorpusError(
            f"{root}: deleted rows of this Delta table are still in its files, hidden by deletion vectors; rewrite "
            "those files "
            "(REORG TABLE … APPLY (PURGE)) or export the current rows"
        )


def _files(listing: Listing, added: pa.Table) -> Iterator[DeltaFile]:
    stored = {file.uri: file for file in listing.below}
    partitions = added["partition"].combine_chunks() if "partition" in added.column_names else None
    keys = [field.name for field in partitions.type] if partitions is not None else []
    values = [_texts(partitions.field(key)) for key in keys] if partitions is not None else []
    for row, path in enumerate(added["path"].to_pylist()):
        uri = f"{listing.root}/{unquote(path)}"
        if uri not in stored:
            raise CorpusError(
                f"{uri if '://' not in path else unquote(path)}: the current version of the Delta table {listing.root} "
                "has this "
                "file, and it is not in the table's folder; restore it, or export the current rows"
            )
        yield DeltaFile(
            stored[uri],
            tuple((key, column[row]) for key, column in zip(keys, values, strict=True)),
        )


def _texts(values: pa.Array) -> list[str | None]:
    return [value or None for value in values.cast(pa.string()).to_pylist()]  # "" is null in a log
