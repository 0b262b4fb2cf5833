"""Values that a person writes in a job file (sizes, durations, names, shares), and what all sections are."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

SIZE_UNITS = {
    "": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}

DURATION_UNITS = {"s": 1, "min": 60, "h": 3600}


def _size(value: object) -> object:
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", value.strip().lower()) if isinstance(value, str) else None
    if match and match[2] in SIZE_UNITS:
        return int(match[1]) * SIZE_UNITS[match[2]]
    if isinstance(value, str):
        raise ValueError("expected a number of bytes such as 16000000, 16MB or 16MiB")
    return value


def _duration(value: object) -> object:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", value.strip().lower()) if isinstance(value, str) else None
    if match and match[2] in DURATION_UNITS:
        return float(match[1]) * DURATION_UNITS[match[2]]
    if isinstance(value, str):
        raise ValueError("expected a duration such as 90s, 10min or 1h")
    return value


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _count_or_share(value: object) -> object:
    """A count stays an int and a share becomes a float: `1` is one document, `1.0` and `100%` are all of them."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip()) if isinstance(value, str) else None
    if match:
        value = float(Decimal(match[1]) / 100)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    is_share = isinstance(value, float) and 0 <= value <= 1
    if not is_count and not is_share:
        raise ValueError("expected a count of documents such as 10, or a share of them such as 1% or 0.01")
    return value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses a list that names something twice."""
    if len(set(values)) != len(values):
        raise ValueError("expected values that differ from each other")
    return values


def _named_for_metrics(tags: dict[str, str]) -> dict[str, str]:
    for name in tags:
        if not re.fullmatch(r"\w+", name, re.ASCII):
            raise ValueError(f"expected names of letters, digits and _, as metrics take them; {name!r} is none")
    return tags


Name = Annotated[str, Field(min_length=1)]
Tags = Annotated[dict[str, str], AfterValidator(_named_for_metrics)]
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=int | str), Field(gt=0)]
Duration = Annotated[  # in seconds
    float,
    BeforeValidator(_duration, json_schema_input_type=float | str),
    Field(ge=0, allow_inf_nan=False),
]
Names = Annotated[tuple[Name, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[str, Field(pattern=r"^\s*\d+(\.\d+)?\s*%\s*$")]
CountOrShare = Annotated[
    int | float,
    BeforeValidator(_count_or_share, json_schema_input_type=Count | Share | Percent),
]


class Settings(BaseModel):
    """A section of a job file: an unknown key or a wrong type is refused, and nothing changes it afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
