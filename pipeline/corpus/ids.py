"""A value of the id column -> the text that identifies a document, or why it identifies none.

Values that differ have texts that differ, and a value has one text whatever type holds it.

    string, UTF-8 bytes   as it is
    number                its digits, without an exponent or zeros at the end: `7` for 7, 7.0, 7.00 and 7e0. A binary
                          fraction has as many digits as read back: `0.1` in 64 bits, `0.10000000149011612` in 32
    date                  `2024-05-01`, `+10000-01-01`, `-0001-12-31`
    timestamp             `2024-05-01T12:30:00.5`, with `Z` where it has a zone, in UTC then
    time, duration        `12:30:00.5`, `PT90.5S`
    UUID                  `123e4567-e89b-12d3-a456-426614174000`

Null, the empty string, what is not finite, truth values, lists and records identify nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

EXPONENT = 400  # beyond a double's; a decimal's digits are written out, and 9E999999999 has many
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DAY = 86_400  # seconds
EXPECTED = "expected a string, a number, a date, a time or a UUID"


@dataclass(frozen=True, slots=True)
class NoId:
    """Why a value identifies nothing: a word to group by, and a message that follows the column's name."""

    reason: str
    message: str


def id_text(value: object) -> str | NoId:
    """The text of a value out of JSON, CSV or `id_values`."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bytes):
        return _utf8(value)
    if value is None:
        return NoId("null_id", "is null")
    if isinstance(value, NoId):
        return value
    if isinstance(value, bool):
        return _wrong(value)
    if isinstance(value, int | UUID):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    return _decimal(value) if isinstance(value, Decimal) else _wrong(value)


def id_values(column: pa.Array) -> list[object]:
    """What `id_text` takes, of each row of a column of any type."""
    column = plain(column)
    of_type = column.type
    if write := _temporal(of_type):
        counts = column.cast(pa.int32() if of_type.bit_width == 32 else pa.int64()).to_pylist()
        return [None if count is None else write(count) for count in counts]
    return list(column.to_pylist()) if _is_scalar(of_type) else _none_of(column)


def plain(column: pa.Array) -> pa.Array:
    """The same values without a dictionary, runs or a name; strings as bytes, for not all of them are UTF-8."""
    while True:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        elif pa.types.is_run_end_encoded(column.type):
            column = pc.run_end_decode(column)
        elif isinstance(column.type, pa.Bool8Type):
            column = column.storage.cast(pa.bool_())
        elif isinstance(column, pa.ExtensionArray) and not isinstance(column.type, pa.UuidType):
            column = column.storage
        elif _is_string(column.type):
            return column.cast(pa.large_binary())
        else:
            return column


def _is_string(of_type: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(of_type) or types.is_large_string(of_type) or types.is_string_view(of_type))


def _is_scalar(of_type: pa.DataType) -> bool:
    types = pa.types
    number = types.is_integer(of_type) or types.is_floating(of_type) or types.is_decimal(of_type)
    binary = types.is_binary(of_type) or types.is_large_binary(of_type)
    other_binary = types.is_binary_view(of_type) or types.is_fixed_size_binary(of_type)
    told_by_value = types.is_boolean(of_type) or types.is_null(of_type)
    is_uuid = isinstance(of_type, pa.UuidType)
    return bool(number or binary or other_binary or told_by_value or is_uuid)


def _none_of(column: pa.Array) -> list[object]:
    problem = NoId("not_an_id", f"is {column.type}; {EXPECTED}")
    return [problem if valid else None for valid in column.is_valid().to_pylist()]


def _wrong(value: object) -> NoId:
    return NoId("not_an_id", f"is a {type(value).__name__}; {EXPECTED}")


def _string(text: str) -> str | NoId:
    if not text:
        return NoId("empty_id", "is empty")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return NoId("invalid_utf8", f"at {error.start}: {error.reason}")
    return text


def _utf8(data: bytes) -> str | NoId:
    try:
        return data.decode() or NoId("empty_id", "is empty")
    except UnicodeDecodeError as error:
        return NoId("invalid_utf8", f"at {error.start}: {error.reason}")


def _float(value: float) -> str | NoId:
    if not math.isfinite(value):
        return NoId("not_an_id", f"is {value}; expected a finite number")
    return str(int(value)) if value.is_integer() else _decimal(Decimal(repr(value)))


def _decimal(value: Decimal) -> str | NoId:
    if not value:
        return "0"
    if not value.is_finite() or abs(value.adjusted()) >= EXPONENT:
        return NoId("not_an_id", f"is {value}; expected a finite number")
    digits = format(value, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _temporal(of_type: pa.DataType) -> Callable[[int], str | NoId] | None:
    """How the counts of days or of parts of a second that such a column holds are written."""
    types = pa.types
    if types.is_date32(of_type):
        return _date
    if types.is_date64(of_type):
        return lambda count: moment(count, "ms").removesuffix("T00:00:00")
    if types.is_timestamp(of_type):
        zone = "Z" if of_type.tz else ""
        return lambda count: moment(count, of_type.unit) + zone
    if types.is_time(of_type):
        return lambda count: _time(count, of_type)
    if types.is_duration(of_type):
        return lambda count: _duration(count, of_type.unit)
    return None


def moment(count: int, unit: str) -> str:
    """ISO 8601 of so many seconds, or parts of one, after 1970 began: `unit` is s, ms, us or ns."""
    days, within = divmod(count, DAY * PER_SECOND[unit])
    return f"{_date(days)}T{_clock(within, unit)}"


def _time(count: int, of_type: pa.DataType) -> str | NoId:
    unit = of_type.unit
    if not 0 <= count < DAY * PER_SECOND[unit]:
        return NoId("not_an_id", f"is {count} {unit} after midnight; expected a time of the day")
    return _clock(count, unit)


def _duration(count: int, unit: str) -> str:
    seconds, fraction = divmod(abs(count), PER_SECOND[unit])
    return f"{'-' if count < 0 else ''}PT{seconds}{_fraction(fraction, unit)}S"


def _clock(count: int, unit: str) -> str:
    seconds, fraction = divmod(count, PER_SECOND[unit])
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours:02}:{minutes:02}:{seconds % 60:02}{_fraction(fraction, unit)}"


def _fraction(count: int, unit: str) -> str:
    digits = len(str(PER_SECOND[unit])) - 1
    return f".{count:0{digits}}".rstrip("0") if count else ""


def _date(days: int) -> str:
    """The proleptic Gregorian date that is `days` after 1970-01-01, in years that `datetime` doesn't have too.

    In a calendar whose years begin in March a leap day is a year's last, so that one formula counts months.
    """
    era, day = divmod(days + 719_468, 146_097)  # since 0000-03-01, in cycles of 400 years
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += 400 * era + (month >= 10)
    written = f"{year:04}" if 0 <= year <= 9999 else f"{year:+05}"
    return f"{written}-{(month + 2) % 12 + 1:02}-{day + 1:02}"
