"""Lake tables as others read them: pyiceberg and deltalake by themselves, with nothing of ours."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from deltalake import DeltaTable
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import ManifestEntryStatus

from pipeline.config.lakes import DeltaSettings, IcebergSettings
from pipeline.lakes.delta_lake import DeltaLake
from pipeline.lakes.iceberg_lake import IcebergLake
from pipeline.lakes.lake_commit import Lake
from pipeline.storage.objects import Storage
from tests.lakes import unreliable_catalog


class LakeFolder(Protocol):
    """A lake on local disk, and what can be asked of it."""

    @property
    def folder(self) -> Path: ...

    def lake(self, storage: Storage | None = None) -> Lake:
        """A committer of its own."""

    def rows(self) -> pa.Table:
        """All rows."""

    def current(self) -> set[str]:
        """Paths of the current version's files."""

    def added(self) -> "Counter[str]":
        """How often each path was ever added."""

    def versions(self) -> list[dict[str, Any]]:
        """Properties of each commit with rows, oldest first."""


@dataclass(frozen=True)
class IcebergFolder:
    folder: Path

    def lake(self, storage: Storage | None = None) -> Lake:
        properties = {
            "py-catalog-impl": unreliable_catalog.NAME,
            "uri": f"sqlite:///{self.folder}/catalog.db",
            "warehouse": f"file://{self.folder}",
        }
        self.folder.mkdir(exist_ok=True)
        settings = IcebergSettings(table="predictions.topics", catalog="lake", properties=properties)
        return IcebergLake(settings, storage or Storage())

    def table(self) -> Any:
        catalog = SqlCatalog("lake", uri=f"sqlite:///{self.folder}/catalog.db", warehouse=f"file://{self.folder}")
        return catalog.load_table("predictions.topics")

    def rows(self) -> pa.Table:
        return self.table().scan().to_arrow()

    def current(self) -> set[str]:
        return {task.file.file_path for task in self.table().scan().plan_files()}

    def added(self) -> "Counter[str]":
        table = self.table()
        return Counter(
            entry.data_file.file_path
            for snapshot in table.snapshots()
            for manifest in snapshot.manifests(table.io)
            if manifest.added_snapshot_id == snapshot.snapshot_id
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            if entry.status == ManifestEntryStatus.ADDED
        )

    def versions(self) -> list[dict[str, Any]]:
        return [
            {"operation": s.summary.operation.value, **s.summary.additional_properties}
            for s in self.table().snapshots()
        ]


@dataclass(frozen=True)
class DeltaFolder:
    folder: Path

    def lake(self, storage: Storage | None = None) -> Lake:
        return DeltaLake(DeltaSettings(uri=str(self.folder)), storage or Storage())

    def rows(self) -> pa.Table:
        return DeltaTable(self.folder).to_pyarrow_table()

    def current(self) -> set[str]:
        return {f"file://{uri.removeprefix('file://')}" for uri in DeltaTable(self.folder).file_uris()}

    def _actions(self) -> list[dict[str, Any]]:
        logs = sorted((self.folder / "_delta_log").glob("*.json"))
        return [json.loads(line) for log in logs for line in log.read_text().splitlines()]

    def added(self) -> "Counter[str]":
        return Counter(f"file://{self.folder}/{action['add']['path']}" for action in self._actions() if "add" in action)

    def versions(self) -> list[dict[str, Any]]:
        return [entry for entry in reversed(DeltaTable(self.folder).history()) if entry["operation"] == "WRITE"]
