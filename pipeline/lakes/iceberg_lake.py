"""An Iceberg table as a lake, by pyiceberg.

It has no partitions: the keys of a table's partitions are columns of its files, whose bounds prune as well, and read
right in every engine. Iceberg takes an identity partition's values from the body of a file, and of a column that is
only in the path it reads nulls.
"""

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.config.lakes import IcebergSettings
from pipeline.errors import AccessError, ConfigError, ConflictError, RookeryError, StorageError, UnavailableError
from pipeline.lakes.lake_files import PREFIX, CommitIds, LakeChange, LakeVersion, unsigned_column
from pipeline.storage.objects import TRANSFERS, Storage
from pipeline.storage.store_errors import explain

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table as IcebergTable

OWNER = PREFIX + "table"
EMBEDDED = "catalog.db"  # in a local warehouse


@dataclass(slots=True)
class IcebergLake:
    """One table of a catalog."""

    settings: IcebergSettings
    storage: Storage
    keeps_partitions: bool = False
    _catalog: "Catalog | None" = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"Iceberg table {self.settings.table} of catalog {self.settings.catalog!r}"

    def record(self) -> dict[str, Any]:
        properties = _embedded(self.settings, self.settings.properties)
        return {"iceberg": self.settings.model_dump(mode="json") | {"properties": properties}}

    def load(self) -> LakeVersion | None:
        with self._explained():
            from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

            try:
                table = self._open().load_table(self.settings.table)
            except (NoSuchTableError, NoSuchNamespaceError):
                return None
            files: dict[str, DataFile] = {}
            rows: dict[str, int] = {}
            for task in table.scan().plan_files():
                files[task.file.file_path] = task.file
                rows[task.file.file_path] = -1 if task.delete_files else task.file.record_count
            handle = table, files
            return LakeVersion(table.location(), rows, _newest_ids(table), table.properties.get(OWNER), handle)

    def create(self, schema: pa.Schema, partition_by: list[str], table_uri: str) -> None:
        from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError

        # for whoever else commits: a retry of pyiceberg's adds files again that another commit has added meanwhile
        properties = {OWNER: table_uri, "commit.retry.num-retries": "0"}
        with self._explained():
            catalog = self._open()
            with contextlib.suppress(NamespaceAlreadyExistsError):
                catalog.create_namespace(self.settings.table.rpartition(".")[0])
            try:
                catalog.create_table(self.settings.table, self._iceberg_types(schema), properties=properties)
            except TableAlreadyExistsError as error:
                raise ConflictError(f"{self.name}: another run made it at the same time") from error

    def commit(self, version: LakeVersion, change: LakeChange, ids: CommitIds, schema: pa.Schema | None) -> None:
        from pyiceberg.table.update import AssertTableUUID

        table, files = version.handle
        with self._explained():
            transaction = table.transaction()
            if schema is not None:
                self._prepare(transaction, schema)
            added = self._data_files(table, transaction.table_metadata, change)
            update = transaction.update_snapshot(snapshot_properties=ids.properties())
            with update.overwrite() if change.removed else update.fast_append() as producer:
                for path in sorted(change.removed):
                    producer.delete_data_file(files[path])
                for file in added:
                    producer.append_data_file(file)
            # and not commit_transaction, which deletes a commit's manifests where it takes it for failed: a request
            # that was sent twice, by whatever lies between, fails the second time and has been done
            requirements = (*transaction._requirements, AssertTableUUID(uuid=table.metadata.table_uuid))
            table.catalog.commit_table(table, requirements, transaction._updates)

    def named(self) -> set[str]:
        with self._explained():
            table = self._open().load_table(self.settings.table)
            manifests = {
                manifest.manifest_path: manifest
                for snapshot in table.snapshots()
                for manifest in snapshot.manifests(table.io)
            }
            return {
                self.storage.canonical(entry.data_file.file_path)
                for manifest in manifests.values()
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            }

    def _open(self) -> "Catalog":
        from pyiceberg.catalog import load_catalog

        if self._catalog is None:
            properties = file_io_properties(self.storage) | self.settings.properties
            self._catalog = load_catalog(self.settings.catalog, **_embedded(self.settings, properties))
        return self._catalog

    def _iceberg_types(self, schema: pa.Schema) -> Any:
        """Checks that Iceberg has these types, before the catalog is asked."""
        from pyiceberg.io.pyarrow import UnsupportedPyArrowTypeException, _pyarrow_to_schema_without_ids

        try:
            if name := unsigned_column(schema):
                raise TypeError(f"{name} is unsigned")
            return _pyarrow_to_schema_without_ids(schema)
        except (UnsupportedPyArrowTypeException, TypeError, ValueError) as error:
            raise ConfigError(f"{self.name}: can't have the table's columns: {error}; leave that column out") from error

    def _prepare(self, transaction: Any, schema: pa.Schema) -> None:
        """Adds columns that are new, and the mapping by which files without field ids are read."""
        from pyiceberg.exceptions import ValidationError

        new = self._iceberg_types(schema)
        try:
            with transaction.update_schema() as update:
                update.union_by_name(new)
        except (TypeError, ValueError, ValidationError) as error:
            raise ConfigError(
                f"{self.name}: its columns and the table's differ in more than columns that are new: {error}; name "
                "another Iceberg table"
            ) from error
        if transaction.table_metadata.name_mapping() is None:
            mapping = transaction.table_metadata.schema().name_mapping.model_dump_json()
            transaction.set_properties({"schema.name-mapping.default": mapping})

    def _data_files(self, table: "IcebergTable", metadata: Any, change: LakeChange) -> list["DataFile"]:
        from pyiceberg.io.pyarrow import parquet_file_to_data_file

        def read(path: str) -> "DataFile":
            try:
                file = parquet_file_to_data_file(table.io, metadata, path)
            except ValueError as error:
                raise ConfigError(f"{self.name}: can't take {path}: {error}; name another Iceberg table") from error
            if file.record_count != change.added[path].rows:
                raise RookeryError(f"{path}: {file.record_count:,} rows, its manifest has {change.added[path].rows:,}")
            return file

        with ThreadPoolExecutor(TRANSFERS) as pool:
            return list(pool.map(read, sorted(change.added)))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what pyiceberg raises into errors of ours; what may have been done and what was not are told apart."""
        try:
            import pyiceberg.exceptions as raised
            import sqlalchemy.exc as database
        except ImportError as error:
            raise ConfigError(
                f"publish.iceberg: the library for it is missing ({error}); pip install 'rookery[iceberg]'"
            ) from error
        refused = (
            raised.UnauthorizedError, raised.ForbiddenError, raised.OAuthError, raised.AuthorizationExpiredError
        )  # fmt: skip
        try:
            with explain(f"iceberg://{self.settings.catalog}"):
                yield
        except refused as error:
            raise AccessError(f"{self.name}: the catalog refuses ({error}); check its credentials") from error
        except raised.CommitFailedException as error:
            raise ConflictError(f"{self.name}: another commit was first ({error})") from error
        except (raised.RESTError, database.DBAPIError) as error:  # of a commit the outcome isn't known
            raise UnavailableError(f"{self.name}: the catalog failed ({error}); run again") from error
        except FileNotFoundError as error:
            raise StorageError(f"{self.name}: a file that it names is gone ({error})") from error
        except (raised.NotInstalledError, ValueError, KeyError) as error:
            raise ConfigError(f"{self.name}: can't be opened ({error}); check publish.iceberg") from error


def file_io_properties(storage: Storage) -> dict[str, str]:
    """Gives the job's storage settings as pyiceberg calls them; credentials it finds where everybody does."""
    settings = storage.settings
    named = {
        "s3.endpoint": settings.endpoint_url,
        "s3.region": settings.region,
        "client.profile-name": settings.profile,
        # Arrow's own client knows no profiles
        "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO" if settings.profile else None,
        "s3.anonymous": "true" if settings.anonymous else None,
    }
    return {name: value for name, value in named.items() if value is not None}


def _embedded(settings: IcebergSettings, properties: Mapping[str, str]) -> dict[str, str]:
    """Adds the SQLite file to a catalog of which nothing says where it is."""
    from pyiceberg.catalog import _ENV_CONFIG

    configured = {**(_ENV_CONFIG.get_catalog_config(settings.catalog) or {}), **properties}
    if {"uri", "type", "py-catalog-impl"} & configured.keys():
        return dict(properties)
    warehouse = str(configured.get("warehouse", ""))
    if not warehouse or ("://" in warehouse and not warehouse.startswith("file://")):
        raise ConfigError(
            f"publish.iceberg: nothing says where catalog {settings.catalog!r} is; set properties.uri (a REST catalog, "
            "or an SQLite file: sqlite:////path/catalog.db), a local properties.warehouse, or configure it in "
            "~/.pyiceberg.yaml"
        )
    folder = Path(warehouse.removeprefix("file://")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return {**properties, "type": "sql", "uri": f"sqlite:///{folder}/{EMBEDDED}", "warehouse": f"file://{folder}"}


def _newest_ids(table: "IcebergTable") -> CommitIds | None:
    """Of all snapshots, not only of the current one: somebody may have committed on top of ours."""
    newest_first = sorted(table.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0, reverse=True)
    summaries = (snapshot.summary.additional_properties for snapshot in newest_first if snapshot.summary)
    return next(filter(None, map(CommitIds.read, summaries)), None)
