"""The files of one snapshot of an Iceberg table, as its metadata names them.

The catalog is pyiceberg's: its configuration file or environment says where it is, by the name that the URI gives it,
and with which credentials its metadata is read. Data files are opened by our own storage, with the corpus' credentials.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.deleted_rows import Deletes, PositionDeletes, PuffinDeletes
from pipeline.corpus.lake_file import LakeFile, TableColumn, TableVersion
from pipeline.errors import AccessError, ConfigError, CorpusError, StorageError
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage
from pipeline.storage.store_errors import raised_by_stores

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import DataScan, FileScanTask, Table
    from pyiceberg.types import NestedField

ICEBERG_SCHEME = "iceberg://"


def read_iceberg(
    storage: Storage, name: str, version: str | None, wanted: Iterable[str]
) -> tuple[TableVersion, list[CorpusFile], list[str]]:
    """A snapshot of the table `catalog/namespace.table`, or the current one; its files, and the names of its columns.

    `version`: a branch, a tag, or a snapshot's id. `wanted` names the columns that the files are told to have.

    Raises:
        ConfigError: no such catalog is configured.
        CorpusError: the library is missing, there is no such table or snapshot, or it has what can't be read.
        AccessError: the catalog or the store of its metadata refuses.
        StorageError: either can't be reached.
    """
    uri = ICEBERG_SCHEME + name
    try:
        import pyiceberg  # noqa: F401
    except ImportError as error:
        raise CorpusError(
            f"{uri}: is an Iceberg table, and the library that reads its metadata is not installed; "
            "pip install 'rookery[iceberg]' (or pyiceberg)"
        ) from error
    with _explained(uri):
        table = _load(uri, name)
        scan = _scan(uri, table, version)
        snapshot = scan.snapshot()
        if snapshot is None:
            raise CorpusError(f"{uri}: this Iceberg table is empty: it has no snapshot yet")
        read = TableVersion("Iceberg", uri, str(snapshot.snapshot_id))
        tasks = list(_planned(read, scan))
        schema = scan.projection()
        lake = LakeFile(read, tuple(_columns(read, table, schema, wanted)))
        keys = _identities(table, schema, {task.file.spec_id for task in tasks})
    files = [_file(storage, lake, keys, task) for task in tasks]
    return read, files, [field.name for field in schema.fields]


def _load(uri: str, name: str) -> "Table":
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchIdentifierError, NoSuchNamespaceError, NoSuchTableError

    catalog_name, _, identifier = name.partition("/")
    if not catalog_name or "." not in identifier:
        raise ConfigError(f"corpus.uris {uri}: expected iceberg://CATALOG/NAMESPACE.TABLE, with @VERSION or without")
    try:
        catalog = load_catalog(catalog_name)
    except ValueError as error:
        raise ConfigError(
            f"corpus.uris {uri}: no catalog {catalog_name!r} that pyiceberg can open ({_one_line(error)}); configure "
            f"it in .pyiceberg.yaml, or by PYICEBERG_CATALOG__{catalog_name.upper()}__URI"
        ) from error
    try:
        return catalog.load_table(identifier)
    except (NoSuchTableError, NoSuchNamespaceError, NoSuchIdentifierError) as error:
        raise CorpusError(f"{uri}: the catalog {catalog_name!r} has no table {identifier!r}; check the name") from error


def _scan(uri: str, table: "Table", version: str | None) -> "DataScan":
    if version is None:
        return table.scan()
    snapshot = table.snapshot_by_name(version)
    if snapshot is None and version.isdigit():
        snapshot = table.snapshot_by_id(int(version))
    if snapshot is None:
        names = ", ".join(sorted(table.refs())) or "none"
        raise CorpusError(
            f"{uri}: this Iceberg table has no branch, tag or snapshot {version!r}; its branches and tags are {names}, "
            f"and it has {len(table.snapshots()):,} snapshots: older ones were expired"
        )
    return table.scan(snapshot_id=snapshot.snapshot_id)


def _planned(read: TableVersion, scan: "DataScan") -> Iterator["FileScanTask"]:
    from pyiceberg.manifest import FileFormat

    try:
        tasks = scan.plan_files()
    except (ValueError, NotImplementedError) as error:
        raise CorpusError(
            f"{read} can't be planned ({_one_line(error)}); rewrite its data files, as a compaction by the engine that "
            "writes it does, or export its current rows"
        ) from error
    for task in tasks:
        if task.file.file_format != FileFormat.PARQUET:
            raise CorpusError(
                f"{task.file.file_path}: {read} has this file of {task.file.file_format.value}; expected Parquet: "
                "rewrite it, or export the current rows"
            )
        yield task


def _columns(read: TableVersion, table: "Table", schema: "Schema", wanted: Iterable[str]) -> Iterator[TableColumn]:
    mapping = table.name_mapping()
    by_name = mapping._field_by_name if mapping else {}
    fields = dict(_fields(schema.fields)) | {field.name: field for field in schema.fields}  # whose names may have dots
    for name in (name for name in wanted if name in fields):
        field = fields[name]
        if field.initial_default is not None:
            raise CorpusError(
                f"{read}: column {name!r} has a default for the rows of older files ({field.initial_default!r}), which "
                "is not applied here; rewrite its data files"
            )
        names = tuple(stored for stored, mapped in by_name.items() if mapped.field_id == field.field_id)
        yield TableColumn(name, field.field_id, names)


def _fields(fields: Iterable["NestedField"], above: str = "") -> Iterator[tuple[str, "NestedField"]]:
    """Each column, and those inside structs, by its name with dots."""
    from pyiceberg.types import StructType

    for field in fields:
        yield f"{above}{field.name}", field
        if isinstance(field.field_type, StructType):
            yield from _fields(field.field_type.fields, f"{above}{field.name}.")


def _identities(table: "Table", schema: "Schema", spec_ids: set[int]) -> dict[int, dict[str, tuple[int, Any]]]:
    """Of each partition spec, where the columns are by which all of these specs part files as they are, and the types.

    One that only some of the files are parted by says nothing of the others' rows.
    """
    from pyiceberg.transforms import IdentityTransform

    keys: dict[int, dict[str, tuple[int, Any]]] = {}
    for spec_id in spec_ids:
        fields = enumerate(table.specs()[spec_id].fields)
        sources = [(at, field.source_id) for at, field in fields if isinstance(field.transform, IdentityTransform)]
        names = [(at, schema.find_column_name(source), source) for at, source in sources]
        keys[spec_id] = {name: (at, schema.find_type(source)) for at, name, source in names if name is not None}
    common = set[str].intersection(*map(set, keys.values())) if keys else set()
    return {spec: {name: key for name, key in some.items() if name in common} for spec, some in keys.items()}


def _file(
    storage: Storage, lake: LakeFile, keys: dict[int, dict[str, tuple[int, Any]]], task: "FileScanTask"
) -> CorpusFile:
    from pyiceberg.transforms import IdentityTransform

    file, as_text = task.file, IdentityTransform[Any]().to_human_string
    values = {name: (file.partition[at], type_) for name, (at, type_) in keys[file.spec_id].items()}
    partitions = tuple(
        (name, None if value is None else as_text(type_, value) or None) for name, (value, type_) in values.items()
    )
    ordered = sorted(task.delete_files, key=lambda delete: delete.file_path)
    deletes = tuple(_deletes(storage, delete, file.file_path) for delete in ordered)
    stored = _stored(storage, file)
    return CorpusFile(
        stored, "parquet", None, partitions, LakeFile(lake.table, lake.columns, deletes) if deletes else lake
    )


def _deletes(storage: Storage, delete: "DataFile", path: str) -> Deletes:
    from pyiceberg.manifest import FileFormat

    if delete.file_format not in (FileFormat.PARQUET, FileFormat.PUFFIN):
        raise CorpusError(
            f"{delete.file_path}: deleted rows in a file of {delete.file_format.value}; expected Parquet or Puffin: "
            "rewrite the table's delete files, or export its current rows"
        )
    kind = PositionDeletes if delete.file_format == FileFormat.PARQUET else PuffinDeletes
    return kind(_stored(storage, delete), path)


def _stored(storage: Storage, file: "DataFile") -> StoredFile:
    return StoredFile(storage.canonical(file.file_path), file.file_size_in_bytes, "")


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    """What the library raises where a catalog, or the store of the metadata, fails."""
    from pyiceberg.exceptions import ForbiddenError, OAuthError, UnauthorizedError

    try:
        yield
    except (UnauthorizedError, ForbiddenError, OAuthError, PermissionError) as error:
        raise AccessError(
            f"{uri}: refused ({_one_line(error)}); give pyiceberg credentials for the catalog and its metadata"
        ) from error
    except FileNotFoundError as error:
        raise CorpusError(f"{uri}: metadata of this Iceberg table is gone ({_one_line(error)}); restore it") from error
    except _unreachable() as error:
        raise StorageError(f"{uri}: can't be reached ({_one_line(error)}); run again when it can") from error


def _unreachable() -> tuple[type[Exception], ...]:
    """What catalogs and stores raise that give no answer; only a catalog in a database needs SQLAlchemy."""
    from pyiceberg.exceptions import RESTError

    database = sys.modules.get("sqlalchemy.exc")
    return (RESTError, *raised_by_stores(), *((database.SQLAlchemyError,) if database else ()))


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
