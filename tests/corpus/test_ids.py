"""An id identifies: texts differ where values do, and a value has one text whatever type holds it."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from pipeline.corpus.ids import PER_SECOND, NoId, id_text, id_values

WHOLE = st.integers(-(2**63), 2**63 - 1)
UNITS = list(PER_SECOND)


def texts(values: Any, type_: pa.DataType | None = None) -> list[str | NoId]:
    column = values if isinstance(values, pa.Array) else pa.array(values, type_)
    return [id_text(value) for value in id_values(column)]


def bits(value: float) -> float:
    """-0.0 is 0.0."""
    return value + 0.0


TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], Callable[[Any], Any]]] = {
    "int64": (pa.int64(), WHOLE, int),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1), int),
    "double": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False), bits),
    "float": (pa.float32(), st.floats(allow_nan=False, allow_infinity=False, width=32), bits),
    "half": (pa.float16(), st.floats(allow_nan=False, allow_infinity=False, width=16), bits),
    "decimal": (pa.decimal128(38, 10), st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}e-10")), Decimal),
    "string": (pa.string(), st.text(min_size=1), str),
    "large string": (pa.large_string(), st.text(min_size=1), str),
    "binary": (pa.binary(), st.text(min_size=1).map(str.encode), bytes),
    "date": (pa.date32(), st.integers(-(2**31), 2**31 - 1), int),
    "date of 64 bits": (pa.date64(), WHOLE, int),
    **{f"timestamp[{u}]": (pa.timestamp(u), WHOLE, int) for u in UNITS},
    **{f"timestamp[{u}, UTC]": (pa.timestamp(u, "UTC"), WHOLE, int) for u in UNITS},
    **{f"duration[{u}]": (pa.duration(u), WHOLE, int) for u in UNITS},
    "time32": (pa.time32("ms"), st.integers(0, 86_399_999), int),
    "time64": (pa.time64("ns"), st.integers(0, 86_400 * 10**9 - 1), int),
    "uuid": (pa.uuid(), st.binary(min_size=16, max_size=16), bytes),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_two_values_share_a_text_only_if_they_are_one(name: str, data: st.DataObject) -> None:
    type_, values, same_as = TYPES[name]
    one, other = data.draw(values), data.draw(values)
    found = texts([one, other], type_)
    assert all(isinstance(text, str) and text for text in found)
    assert (found[0] == found[1]) == (same_as(one) == same_as(other))


@given(WHOLE)
def test_a_whole_number_has_one_text_in_every_type(value: int) -> None:
    found = {str(value), id_text(value), id_text(Decimal(value)), id_text(Decimal(f"{value}.000"))}
    if float(value) == value:
        found.add(id_text(float(value)))
    assert found == {str(value)}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_reads_back(value: float) -> None:
    text = id_text(value)
    assert isinstance(text, str)
    assert float(text) == value
    assert "e" not in text.lower()
    assert not text.endswith(".0")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_a_decimal_reads_back_exactly(value: Decimal) -> None:
    text = id_text(value)
    assert isinstance(text, str)
    assert Decimal(text) == value
    assert id_text(Decimal(text)) == text


@given(st.datetimes(), st.sampled_from(["s", "ms", "us"]))
def test_a_moment_is_as_python_spells_it(moment: datetime, unit: str) -> None:
    count = (moment - datetime(1970, 1, 1)) // timedelta(seconds=1) * PER_SECOND[unit]
    seconds = moment.replace(microsecond=0)
    assert texts([count], pa.timestamp(unit)) == [seconds.isoformat()]
    zoned = seconds.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")
    assert texts([count], pa.timestamp(unit, "Asia/Tokyo")) == [zoned]


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_day_is_as_numpy_spells_it(days: int) -> None:
    (text,) = texts([days], pa.date32())
    assert isinstance(text, str)
    year, month, day = text.rsplit("-", 2)
    numpy_year, *rest = str(np.datetime64(days, "D")).rsplit("-", 2)
    assert (int(year), [month, day]) == (int(numpy_year), rest)
    assert len(year) == 4 if 0 <= int(year) <= 9999 else year[0] in "+-" and len(year) >= 5
    if 1 <= int(year) <= 9999:
        assert date.fromisoformat(text) == date(1970, 1, 1) + timedelta(days)


@given(st.integers(-(2**53), 2**53))
def test_an_instant_has_one_text_in_every_unit(milliseconds: int) -> None:
    per = {"ms": 1, "us": 10**3, "ns": 10**6}
    found = {
        texts([milliseconds * factor], pa.timestamp(unit))[0]
        for unit, factor in per.items()
        if abs(milliseconds * factor) < 2**63
    }
    assert len(found) == 1


def encoded(column: pa.Array) -> list[pa.Array]:
    ends = pa.array(range(1, len(column) + 1), pa.int32())
    return [column.dictionary_encode(), pa.RunEndEncodedArray.from_arrays(ends, column)]


@pytest.mark.parametrize(
    "column",
    [pa.array(["a", "é"]), pa.array([7, 8]), pa.array([7.0, 0.5]), pa.array([date(2024, 5, 1)] * 2)],
)  # fmt: skip
def test_encodings_change_nothing(column: pa.Array) -> None:
    assert [texts(other) for other in encoded(column)] == [texts(column)] * 2


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([None]), "null_id"),
        (pa.array([""]), "empty_id"),
        (pa.array([b"\xff"]), "invalid_utf8"),
        (pa.array([True]), "not_an_id"),
        (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())), "not_an_id"),
        (pa.array([math.nan]), "not_an_id"),
        (pa.array([-math.inf], pa.float32()), "not_an_id"),
        (pa.array([[1]]), "not_an_id"),
        (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), "not_an_id"),
        (pa.array([{"n": 1}]), "not_an_id"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), "not_an_id"),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), "not_an_id"),
        (pa.array([86_400], pa.time32("s")), "not_an_id"),
        (pa.array([-1], pa.time64("ns")), "not_an_id"),
        (pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]), "not_an_id"),
        (pa.array([["a"]], pa.list_view(pa.string())), "not_an_id"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_what_identifies_nothing(column: pa.Array, reason: str) -> None:
    (problem,) = texts(column)
    assert isinstance(problem, NoId)
    assert problem.reason == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("\ud800", "invalid_utf8"), (Decimal("1e999999"), "not_an_id"), (Decimal("1e-999999"), "not_an_id"),
        (Decimal("NaN"), "not_an_id"), ([], "not_an_id"), ({}, "not_an_id"), (False, "not_an_id"),
    ],
)  # fmt: skip
def test_values_of_json_that_identify_nothing(value: object, reason: str) -> None:
    problem = id_text(value)
    assert isinstance(problem, NoId)
    assert problem.reason == reason
