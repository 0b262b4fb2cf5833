"""A snapshot's rows, for whoever reads the table: by the manifest's files, never by a listing."""

from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.tables.snapshots import Manifest, Snapshots

if TYPE_CHECKING:
    import pyarrow.dataset as pa_dataset


def open_predictions(snapshots: Snapshots, manifest: Manifest) -> "pa_dataset.Dataset":
    """Opens the predictions of a snapshot: a row per document, with its partition's keys as string columns.

    Rows are read when the dataset is. Raises StorageError.
    """
    return _open(snapshots, manifest, "data")


def open_errors(snapshots: Snapshots, manifest: Manifest) -> "pa_dataset.Dataset":
    """Opens the errors of a snapshot, as `open_predictions` its predictions."""
    return _open(snapshots, manifest, "errors")


def _open(snapshots: Snapshots, manifest: Manifest, kind: str) -> "pa_dataset.Dataset":
    import pyarrow.dataset as pa_dataset  # imports pandas, which takes half a second

    filesystem, root = snapshots.storage.filesystem(snapshots.table_uri)
    keys = pa.schema([(key, pa.string()) for key in manifest.partition_by])
    return pa_dataset.dataset(
        [f"{root}/{file.path}" for file in manifest.files if file.kind == kind],
        filesystem=filesystem,
        format="parquet",
        partitioning=pa_dataset.partitioning(keys, flavor="hive"),
    )
