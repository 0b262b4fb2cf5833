"""Iceberg tables of a catalog on this disk, and deleted rows in them as engines that merge on read leave them.

pyiceberg applies such deletes and writes none, so their files are written here by hand.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestWriter,
    ManifestWriterV2,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _FastAppendFiles
from pyiceberg.typedef import Record
from pyiceberg.types import StringType

NAME = "lake"


def catalog_in(folder: Path, monkeypatch: pytest.MonkeyPatch, warehouse: str | None = None) -> Catalog:
    """A catalog in a folder, which the environment describes as a user's would."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{folder}/catalog.db")
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", warehouse or f"file://{folder}")
    refresh_environment(monkeypatch)
    catalog = load_catalog(NAME)
    catalog.create_namespace_if_not_exists("ns")
    return catalog


def refresh_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyiceberg reads the environment when it is imported."""
    import pyiceberg.catalog
    from pyiceberg.utils.config import Config

    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())


class DeleteManifest(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return super()._meta | {"content": "deletes"}


class AddDeletes(_FastAppendFiles):
    """Commits delete files, as Java's RowDelta does."""

    def new_manifest_writer(self, spec: PartitionSpec) -> ManifestWriter:
        schema = self._transaction.table_metadata.schema()
        return DeleteManifest(spec, schema, self.new_manifest_output(), self._snapshot_id, self._compression)


def delete_rows(
    table: Table, rows: dict[str, list[int]], *, content: DataFileContent = DataFileContent.POSITION_DELETES
) -> None:
    """Deletes rows of data files, by their paths, in one Parquet file of an unpartitioned table."""
    pairs = sorted((path, row) for path, some in rows.items() for row in some)
    names = [path for path, _ in pairs]
    number = len(list(Path(table.location().removeprefix("file://")).glob("data/deletes-*")))
    path = f"{table.location()}/data/deletes-{number}.parquet"
    local = path.removeprefix("file://")
    fields = [
        pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": "2147483546"}),
        pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "2147483545"}),
    ]
    pq.write_table(pa.table([names, [row for _, row in pairs]], pa.schema(fields)), local)
    bounds = {2147483546: to_bytes(StringType(), min(names))}, {2147483546: to_bytes(StringType(), max(names))}
    commit_deletes(table, path, FileFormat.PARQUET, len(pairs), content=content, bounds=bounds)


def commit_deletes(
    table: Table,
    path: str,
    format_: FileFormat,
    count: int,
    *,
    content: DataFileContent = DataFileContent.POSITION_DELETES,
    bounds: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {}),
) -> None:
    file = DataFile.from_args(
        content=content,
        file_path=path,
        file_format=format_,
        partition=Record(),
        record_count=count,
        file_size_in_bytes=Path(path.removeprefix("file://")).stat().st_size,
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds=bounds[0],
        upper_bounds=bounds[1],
        key_metadata=None,
        split_offsets=None,
        equality_ids=[1] if content == DataFileContent.EQUALITY_DELETES else None,
        sort_order_id=None,
    )
    file.spec_id = table.spec().spec_id
    with table.transaction() as transaction:
        producer = AddDeletes(operation=Operation.OVERWRITE, transaction=transaction, io=table.io)
        producer.append_data_file(file)
        producer.commit()


def data_files(table: Table) -> list[Any]:
    return [task.file for task in table.scan().plan_files()]
