"""What the metadata of a lake table (Delta, Iceberg) says of a data file beside its name and size.

The table has columns; a file has them under the names of the day when it was written, and lacks those that are newer.
Iceberg finds them by the ids of fields that its files hold, Delta by the names that its log gives, if it maps any.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from pipeline.corpus.deleted_rows import Deletes
from pipeline.errors import CorpusError

FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True, slots=True)
class TableVersion:
    """The version of a lake table that is read."""

    system: Literal["Delta", "Iceberg"]
    uri: str  # without a version
    version: str

    def __str__(self) -> str:
        kind = "version" if self.system == "Delta" else "snapshot"
        return f"{kind} {self.version} of the {self.system} table {self.uri}"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of the table, and how its files call it; one inside structs has a name with dots."""

    name: str
    field_id: int | None  # in files that hold ids
    stored_names: tuple[str, ...]  # in files that hold none


@dataclass(frozen=True, slots=True)
class LakeFile:
    """What a table says of one of its data files."""

    table: TableVersion
    columns: tuple[TableColumn, ...]  # those that the job names
    deletes: tuple[Deletes, ...] = ()
    # what is known when the file is cut, and hashed into its units' ids:
    deleted: str | None = None  # digest of the numbers of its deleted rows, where there are any
    renamed: tuple[tuple[str, str | None], ...] = ()  # columns under other names in the file; None for one it lacks

    @property
    def form(self) -> tuple[object, ...]:
        """What tells two of them apart before the file is opened."""
        columns = [(column.name, column.field_id, *column.stored_names) for column in self.columns]
        return (*columns, *(some.form for some in self.deletes))

    def with_names_of(self, schema: pa.Schema) -> "LakeFile":
        """It for a file with this schema. Raises CorpusError where nothing tells which columns the file has."""
        stored = self._stored_names(schema)
        names = [(column.name, stored.get(column.name)) for column in self.columns]
        return replace(self, columns=(), renamed=tuple((name, there) for name, there in names if there != name))

    def _stored_names(self, schema: pa.Schema) -> dict[str, str]:
        if not len(schema):  # it could not be read, and whoever cuts it says so
            return {}
        paths = list(_paths(schema))
        by_id = {field_id: path for path, field_id in reversed(paths) if field_id is not None}
        names = {path for path, _ in paths}
        stored: dict[str, str] = {}
        for column in self.columns:
            if by_id and column.field_id is not None:
                there = [by_id[column.field_id]] if column.field_id in by_id else []
            elif column.stored_names:
                there = [name for name in column.stored_names if name in names]
            else:
                raise CorpusError(
                    f"the file holds no ids of fields, and the {self.table.system} table {self.table.uri} has no names "
                    "for such files; set its schema.name-mapping.default"
                )
            if there:
                stored[column.name] = there[0]
        return stored


def _paths(fields: Iterable[pa.Field], above: str = "") -> Iterator[tuple[str, int | None]]:
    """Each column of a file with its id: those of the top level first, then what is inside structs."""
    inside: list[tuple[str, pa.DataType]] = []
    for field in fields:
        field_id = (field.metadata or {}).get(FIELD_ID)
        yield f"{above}{field.name}", int(field_id) if field_id else None
        if pa.types.is_struct(field.type):
            inside.append((f"{above}{field.name}.", field.type))
    for path, type_ in inside:
        yield from _paths(type_.fields, path)
