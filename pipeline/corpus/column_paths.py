"""Columns inside others: `doc.body.text` is the field `text` of the field `body` of the column `doc`.

So it is in a struct of Parquet and in an object of JSON. A column whose whole name has these dots comes before a path.
Null on the way is null. Nothing leads through a list: nobody could tell which of its elements is meant.
"""

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.columns import almost

NAMES_SHOWN, NAME_LENGTH = 20, 40
LISTS = "; a path can't lead through a list: write what is meant as a column of its own"


class Repeating(dict[str, Any]):
    """A record that has a name more than once."""

    repeated: frozenset[str]


class ColumnPathError(ValueError):
    """A column that a job names leads nowhere. `reason` as in an error row; `is_absent`: a name isn't there at all."""

    def __init__(self, column: str, what: str, why: str, reason: str = "no_column", *, is_absent: bool = False) -> None:
        super().__init__(f"{what} {column!r}{why}")
        self.reason, self.is_absent = reason, is_absent
        self._what, self._why = what, why

    def as_setting(self, column: str, setting: str) -> str:
        """The message with the setting that names the column."""
        return f"{self._what} {column!r} ({setting}){self._why}"


def path_in(names: Collection[str], column: str) -> tuple[str, ...]:
    """The names that lead to a column, one inside the other."""
    return (column,) if column in names else tuple(column.split("."))


def value_at(record: Mapping[str, Any], column: str) -> Any:
    """The value of a record's column. Raises ColumnPathError."""
    value: Any = record
    path = path_in(record, column)
    for depth, name in enumerate(path):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise _blocked(column, path, depth, type(value).__name__, is_list=isinstance(value, list))
        if name not in value:
            names = ", ".join(repr(name[:NAME_LENGTH]) for name in sorted(value)[:NAMES_SHOWN])
            raise _absent(column, path, depth, "the record", names, value)
        if isinstance(value, Repeating) and name in value.repeated:
            raise ColumnPathError(
                ".".join(path[: depth + 1]), "the record has", " more than once; expected one", "repeated_name"
            )
        value = value[name]
    return value


def arrow_path(schema: pa.Schema, column: str) -> tuple[tuple[str, ...], pa.DataType]:
    """The names that lead to a column of a schema, and its type; a column of nulls on the way ends them.

    Raises ColumnPathError.
    """
    fields, of_type = list(schema), pa.struct([])
    path = path_in(schema.names, column)
    for depth, name in enumerate(path):
        if pa.types.is_null(of_type):
            return path[:depth], of_type
        if not pa.types.is_struct(of_type):
            raise _blocked(column, path, depth, str(of_type), is_list=pa.types.is_nested(of_type))
        names = [field.name for field in (fields if depth == 0 else of_type)]
        if name not in names:
            raise _absent(column, path, depth, "the file", ", ".join(names), names)
        if names.count(name) > 1:
            raise ColumnPathError(column, "more than one column", _has(path, depth, "the file", ", ".join(names)))
        of_type = (fields if depth == 0 else of_type)[names.index(name)].type
    return path, of_type


def column_at(batch: pa.RecordBatch | pa.Table, path: tuple[str, ...]) -> Any:
    """The column of a batch or a table to which the names lead; null where one on the way is."""
    column = batch.column(path[0])
    return pc.struct_field(column, list(path[1:])) if len(path) > 1 else column


def _absent(
    column: str, path: tuple[str, ...], depth: int, whole: str, shown: str, names: Collection[str]
) -> ColumnPathError:
    hint = almost(path[depth], names)
    return ColumnPathError(column, "no column", f"{_has(path, depth, whole, shown)}{hint}", is_absent=True)


def _has(path: tuple[str, ...], depth: int, whole: str, shown: str) -> str:
    has = f"has {shown}" if shown else "is empty"
    if len(path) == 1:
        return f"; {whole} {has}"
    return f": no {path[depth]!r}; {repr('.'.join(path[:depth])) if depth else whole} {has}"


def _blocked(column: str, path: tuple[str, ...], depth: int, kind: str, *, is_list: bool) -> ColumnPathError:
    why = f": {'.'.join(path[:depth])!r} is {kind}{LISTS if is_list else ', which has no fields'}"
    return ColumnPathError(column, "no column", why)
