"""The columns of the corpus that a job carries into its table: one struct of each document, of one type for all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.warehouse_types import fits

Carry = tuple[pa.StructScalar, str | None]  # what a document carries; what does not fit is null, and said


def column_name(name: str) -> str:
    """What the table calls a column of the files: the last part, where the name is a path."""
    return name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class CarriedColumns:
    """Which columns are carried. Travels with each unit."""

    names: tuple[str, ...]  # as the files have them
    type: pa.StructType  # a field for each
    sources: tuple[str, ...] = field(compare=False)  # URI of the file that told the type of each

    @property
    def form(self) -> tuple[object, ...]:
        """What of it is hashed into a unit's id."""
        return tuple((name, str(column.type)) for name, column in zip(self.names, self.type, strict=True))

    def of_record(self, values: Mapping[str, Any]) -> Carry:
        """Gives what a record of JSON or CSV carries; a column that it lacks is null."""
        carried: dict[str, Any] = {}
        misfit = None
        for number, (name, column) in enumerate(zip(self.names, self.type, strict=True)):
            value = values.get(name)
            if fits(value, column.type):
                carried[column.name] = value
            else:
                misfit = misfit or self._misfit(number)
        return pa.scalar(carried, self.type), misfit

    def of_columns(self, of_file: Mapping[str, pa.Array], n_rows: int) -> Iterator[Carry]:
        """Yields what each of some rows of a file carries; a column that the file lacks is null."""
        columns, misfits = [], []
        for name, column in zip(self.names, self.type, strict=True):
            array, wrong = cast_values(of_file.get(name, pa.nulls(n_rows, column.type)), column.type)
            columns.append(array)
            misfits.append(wrong)
        rows = pa.StructArray.from_arrays(columns, fields=list(self.type))
        for number in range(n_rows):
            messages = (self._misfit(column) for column, wrong in enumerate(misfits) if number in wrong)
            yield rows[number], next(messages, None)

    def _misfit(self, column: int) -> str:
        return f"column {self.names[column]!r} (corpus.columns): expected a value that fits {self.type[column].type}"


def cast_values(values: pa.Array, type_: pa.DataType) -> tuple[pa.Array, frozenset[int]]:
    """Casts a file's values to a warehouse type; null, and its number, for each that does not fit.

    Of nanoseconds the microseconds stay.
    """
    try:
        return _cast(values, type_), frozenset()
    except (pa.ArrowInvalid, UnicodeError):
        if len(values) == 1:
            return pa.nulls(1, type_), frozenset([0])
    parts = [cast_values(values.slice(number, 1), type_) for number in range(len(values))]
    return pa.concat_arrays([part for part, _ in parts]), frozenset(n for n, (_, wrong) in enumerate(parts) if wrong)


def _cast(values: pa.Array, type_: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    array = pc.cast(values, options=pc.CastOptions(type_, allow_time_truncate=True))
    array.validate(full=True)  # a file's text may be no UTF-8
    return array
