"""The Arrow types that a carried column may have: those that every warehouse reads, for all that files may hold.

Integers are signed and of 32 or 64 bits, strings and lists plain, times in microseconds; a moment with a zone is kept
as the moment, in UTC.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

Predicate = Callable[[pa.DataType], bool]
SAME: tuple[Predicate, ...] = (
    pa.types.is_boolean, pa.types.is_int32, pa.types.is_int64, pa.types.is_float32, pa.types.is_float64,
    pa.types.is_string, pa.types.is_binary, pa.types.is_date32, pa.types.is_decimal128,
)  # fmt: skip
OTHERS: tuple[tuple[Predicate, pa.DataType], ...] = (
    (pa.types.is_int8, pa.int32()),
    (pa.types.is_int16, pa.int32()),
    (pa.types.is_uint8, pa.int32()),
    (pa.types.is_uint16, pa.int32()),
    (pa.types.is_uint32, pa.int64()),
    (pa.types.is_uint64, pa.int64()),  # a larger value doesn't fit
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_time, pa.time64("us")),
    (pa.types.is_null, pa.string()),  # nothing but nulls so far
)
DECIMAL_DIGITS = 38  # of a decimal, in most warehouses


class NoWarehouseTypeError(Exception):
    """Raised for a type or for values that can't be a column in every engine; says which."""


def warehouse_type(of: pa.DataType) -> pa.DataType:
    """Gives the type that stands for a type of a file. Raises NoWarehouseTypeError."""
    if any(is_same(of) for is_same in SAME):
        return of
    if pa.types.is_timestamp(of):
        return pa.timestamp("us", "UTC" if of.tz else None)
    if pa.types.is_dictionary(of) or pa.types.is_run_end_encoded(of):
        return warehouse_type(of.value_type)
    if pa.types.is_decimal(of) and of.precision <= DECIMAL_DIGITS:
        return pa.decimal128(of.precision, of.scale)
    if pa.types.is_struct(of) and of.num_fields:
        return pa.struct([pa.field(field.name, warehouse_type(field.type)) for field in of])
    if pa.types.is_map(of):
        return pa.map_(warehouse_type(of.key_type), warehouse_type(of.item_type))
    if pa.types.is_list(of) or pa.types.is_large_list(of) or pa.types.is_fixed_size_list(of):
        return pa.list_(warehouse_type(of.value_type))
    for is_of, type_ in OTHERS:
        if is_of(of):
            return type_
    raise NoWarehouseTypeError(f"{of} is no type that every warehouse has")


def json_type(values: Iterable[Any]) -> pa.DataType:
    """Gives the type that fits all of some values of JSON, null if there are only nulls.

    Text stays text, whatever it looks like. Raises NoWarehouseTypeError for values of several kinds.
    """
    return merged(map(_json_type, values))


def merged(types: Iterable[pa.DataType]) -> pa.DataType:
    """Gives the type that fits values of all of some types of JSON. Raises NoWarehouseTypeError."""
    result = pa.null()
    for type_ in types:
        result = _merged(result, type_)
    return result


def fits(value: Any, type_: pa.DataType) -> bool:
    """Tells whether a value of JSON is one of a type that `json_type` gave, with nothing lost."""
    if value is None:
        return True
    if pa.types.is_struct(type_):
        names = {field.name for field in type_}
        return isinstance(value, dict) and all(k in names and fits(v, type_.field(k).type) for k, v in value.items())
    if pa.types.is_list(type_):
        return isinstance(value, list) and all(fits(item, type_.value_type) for item in value)
    if pa.types.is_floating(type_):
        return isinstance(value, float) or (_is_int(value) and abs(value) <= 2**53)
    if pa.types.is_integer(type_):
        return _is_int(value) and -(2**63) <= value < 2**63
    if pa.types.is_boolean(type_):
        return isinstance(value, bool)
    return isinstance(value, str) and _is_utf8(value)


def _json_type(value: Any) -> pa.DataType:
    match value:
        case None:
            return pa.null()
        case bool():
            return pa.bool_()
        case int():
            return pa.int64()
        case float():
            return pa.float64()
        case str():
            return pa.string()
        case list():
            return pa.list_(json_type(value))
        case dict():
            return pa.struct([pa.field(name, _json_type(item)) for name, item in value.items()])
    raise NoWarehouseTypeError(f"{type(value).__name__} is no type that every warehouse has")


def _merged(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if pa.types.is_null(a) or a == b:
        return b
    if pa.types.is_null(b):
        return a
    if {a, b} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(a) and pa.types.is_list(b):
        return pa.list_(_merged(a.value_type, b.value_type))
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        return pa.struct(list(_merged_fields(a, b)))
    raise NoWarehouseTypeError(f"{a} and {b}")


def _merged_fields(a: pa.StructType, b: pa.StructType) -> Iterator[pa.Field]:
    of_b = {field.name: field.type for field in b}
    for field in a:
        yield pa.field(field.name, _merged(field.type, of_b.pop(field.name, pa.null())))
    for name, type_ in of_b.items():
        yield pa.field(name, type_)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
