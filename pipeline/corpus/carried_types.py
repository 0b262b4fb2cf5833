"""Of which type each carried column is, before the first unit: by the footers of Parquet, by first records elsewhere.

Parquet says a column's type, and each of its files is held to it when it is cut. JSON has a type for each value: the
first records of some files tell, and a later value that does not fit makes its document an error. CSV has text.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.carried import CarriedColumns, cast_values, column_name
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.documents import rows
from pipeline.corpus.formats import FORMATS
from pipeline.corpus.formats.parquet import first_row_group, other_type, read_schema, warehouse_types
from pipeline.corpus.slices import Unit, WholeFile
from pipeline.corpus.units import reading_of
from pipeline.corpus.warehouse_types import NoWarehouseTypeError, json_type, merged, warehouse_type
from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage

SAMPLE_FILES = 5  # at each end of a format's files: a column may have come later
SAMPLE_RECORDS = 20


class TypeOfFile(NamedTuple):
    """The type that a file has for a column; null where it has only nulls."""

    type: pa.DataType
    file: CorpusFile


def carried_columns(storage: Storage, files: Sequence[CorpusFile], settings: CorpusSettings) -> CarriedColumns | None:
    """Gives what the job carries, with the type of each column; None if it carries nothing.

    Raises CorpusError where no file has a column, its type is none that every warehouse has, or another file has it as
    another type; StorageError.
    """
    if not settings.columns:
        return None
    sample = list(_sample(files))
    seen: dict[str, list[TypeOfFile]] = {name: [] for name in settings.columns}
    for file in sample:
        for name, type_ in _types(storage, file, settings):
            seen[name].append(TypeOfFile(type_, file))
    for name, of_files in seen.items():
        if not of_files:
            raise CorpusError(
                f"corpus.columns {name!r}: not one of {len(sample)} files has it, {sample[0].uri} among them; correct "
                "the name, or leave it out"
            )
    fields = [pa.field(column_name(name), _one_type(name, of_files)) for name, of_files in seen.items()]
    sources = tuple(of_files[0].file.uri for of_files in seen.values())
    return CarriedColumns(settings.columns, pa.struct(fields), sources)


def first_values(
    storage: Storage, files: Sequence[CorpusFile], carried: CarriedColumns, column: str
) -> Iterator[pa.Array]:
    """Yields what a carried column holds in the first row groups of some Parquet files: there it is cheap to read.

    `column`: as the table calls it.
    """
    number = [field.name for field in carried.type].index(column)
    for file in _sample(files):
        is_plain = file.format == "parquet" and not file.lake
        if is_plain and (values := first_row_group(storage, file, carried.names[number])) is not None:
            yield cast_values(values, carried.type[number].type)[0]


def _sample(files: Sequence[CorpusFile]) -> Iterator[CorpusFile]:
    for name in FORMATS:
        of_format = (file for file in files if file.format == name)
        yield from islice(of_format, SAMPLE_FILES)
        yield from deque(of_format, SAMPLE_FILES)


def _types(storage: Storage, file: CorpusFile, settings: CorpusSettings) -> Iterator[tuple[str, pa.DataType]]:
    if file.format == "parquet":
        schema = read_schema(storage, file)
        for name, type_ in warehouse_types(file.with_names_of(schema), schema, settings.columns):
            yield name, type_
        return
    records = _first_records(storage, file, settings)
    for name in settings.columns:
        if values := [record[name] for record in records if name in record]:
            try:
                yield name, json_type(values)
            except NoWarehouseTypeError as error:
                raise CorpusError(
                    f"corpus.columns {name!r}: {file.uri} holds {error} there; expected values of one kind: correct "
                    "them, or leave it out"
                ) from error


def _first_records(storage: Storage, file: CorpusFile, settings: CorpusSettings) -> list[dict[str, object]]:
    reading = replace(reading_of(settings), extra_columns=settings.columns)
    with closing(rows(storage, Unit(file, WholeFile(), reading))) as documents:
        return [row["values"] for row in islice(documents, SAMPLE_RECORDS) if "values" in row]


def _one_type(name: str, seen: list[TypeOfFile]) -> pa.DataType:
    """Of Parquet's types all have to be one; those that values of JSON have may be brought together."""
    first = seen[0]
    for other in seen[1:]:
        both = {first.type, other.type} - {pa.null()}
        if len(both) < 2 or "parquet" not in (first.file.format, other.file.format):
            continue
        raise CorpusError(other_type(name, first.type, first.file.uri, other.type, other.file.uri))
    try:
        return warehouse_type(merged(of_file.type for of_file in seen))
    except NoWarehouseTypeError:
        other = next((of_file for of_file in seen if not _agree(first.type, of_file.type)), first)
        raise CorpusError(other_type(name, first.type, first.file.uri, other.type, other.file.uri)) from None


def _agree(a: pa.DataType, b: pa.DataType) -> bool:
    try:
        warehouse_type(merged([a, b]))
    except NoWarehouseTypeError:
        return False
    return True
