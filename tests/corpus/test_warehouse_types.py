"""Types of carried columns: every value of JSON fits the type that was found for it, as pyarrow has it; others don't."""

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from pipeline.corpus.carried import cast_values
from pipeline.corpus.warehouse_types import NoWarehouseTypeError, fits, json_type, merged, warehouse_type

SCALARS: list[st.SearchStrategy[Any]] = [
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
]
ONE_KIND = st.sampled_from(SCALARS).flatmap(
    lambda kind: st.recursive(
        st.none() | kind,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=6,
    )
)  # fmt: skip


def _is_storable(type_: pa.DataType) -> bool:
    if pa.types.is_struct(type_):
        return type_.num_fields > 0 and all(_is_storable(field.type) for field in type_)
    return _is_storable(type_.value_type) if pa.types.is_list(type_) else True


@given(st.lists(ONE_KIND, min_size=1, max_size=4))
def test_what_told_the_type_fits_it_and_arrow_keeps_it(values: list[Any]) -> None:
    try:
        type_ = json_type(values)
        stored = warehouse_type(type_)
    except NoWarehouseTypeError:
        return
    assert json_type([*values, None, *values]) == type_
    for value in values:
        assert fits(value, stored)
        if _is_storable(stored):
            assert _same(pa.array([value], stored)[0].as_py(), value)


def _same(stored: Any, value: Any) -> bool:
    """An object has all names of its column; what JSON left out is null."""
    if isinstance(stored, dict) and isinstance(value, dict):
        return value.keys() <= stored.keys() and all(_same(item, value.get(name)) for name, item in stored.items())
    if isinstance(stored, list) and isinstance(value, list):
        return len(stored) == len(value) and all(map(_same, stored, value))
    return bool(stored == value) and (stored is None) == (value is None)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (True, pa.int64()), (1, pa.bool_()), (1.5, pa.int64()), (2**63, pa.int64()), (2**53 + 1, pa.float64()), ("1", pa.int64()),
        (1, pa.string()), ("\ud800", pa.string()), ({"a": 1, "b": 1}, pa.struct({"a": pa.int64()})), ([1, "a"], pa.list_(pa.int64())),
    ],
)  # fmt: skip
def test_what_would_lose_something_does_not_fit(value: Any, type_: pa.DataType) -> None:
    assert not fits(value, type_)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
        (pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("us", "UTC")),
        (pa.timestamp("s"), pa.timestamp("us")),
        (pa.decimal256(38, 2), pa.decimal128(38, 2)),
        (pa.large_list(pa.struct({"a": pa.uint8()})), pa.list_(pa.struct({"a": pa.int32()}))),
        (pa.map_(pa.string(), pa.float16()), pa.map_(pa.string(), pa.float32())),
        (pa.binary(16), pa.binary()), (pa.date64(), pa.date32()), (pa.time32("ms"), pa.time64("us")), (pa.null(), pa.string()),
    ],
)  # fmt: skip
def test_a_type_of_a_file_has_one_that_every_warehouse_reads(of: pa.DataType, expected: pa.DataType) -> None:
    assert warehouse_type(of) == expected
    assert warehouse_type(expected) == expected
    assert cast_values(pa.nulls(2, of), expected)[0].equals(pa.nulls(2, expected))


@pytest.mark.parametrize("of", [pa.duration("s"), pa.decimal256(39, 0), pa.struct([]), pa.month_day_nano_interval()])
def test_a_type_without_one_is_refused(of: pa.DataType) -> None:
    with pytest.raises(NoWarehouseTypeError, match="is no type that every warehouse has"):
        warehouse_type(of)


@pytest.mark.parametrize(
    "types", [(pa.int64(), pa.string()), (pa.bool_(), pa.int64()), (pa.list_(pa.int64()), pa.int64())]
)
def test_kinds_that_differ_are_not_brought_together(types: tuple[pa.DataType, ...]) -> None:
    with pytest.raises(NoWarehouseTypeError):
        merged(types)


def test_of_many_values_only_the_wrong_ones_are_lost() -> None:
    values = pa.array([1, 2**63, None, 3], pa.uint64())
    array, wrong = cast_values(values, pa.int64())
    assert (array.to_pylist(), wrong) == ([1, None, None, 3], frozenset([1]))
    moments = pa.array([1_999, -1], pa.timestamp("ns"))
    assert cast_values(moments, pa.timestamp("us"))[0].cast(pa.int64()).to_pylist() == [1, math.trunc(-0.001)]
