"""One JSON value -> Python, without what Python's own reading loses in silence.

A name that is there twice is kept in mind, for the last one would count. A number that identifies keeps all its digits.
"""

import contextlib
import functools
import json
import math
import operator
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline.corpus.column_paths import ColumnPathError, Repeating, path_in, value_at


def parse(data: bytes, id_name: str | None) -> object:
    """The value that UTF-8 spells; a fraction in its column `id_name` as Decimal. Raises ValueError, RecursionError."""
    text = data.decode().lstrip("\ufeff")  # files that were joined have a mark at the seam
    value = DECODER.decode(text)
    if isinstance(value, dict) and id_name is not None:
        with contextlib.suppress(ColumnPathError):  # whoever takes the id says so
            id_value = value_at(value, id_name)
            if isinstance(id_value, float) and math.isfinite(id_value):
                *above, name = path_in(value, id_name)
                holder = functools.reduce(operator.getitem, above, value)
                holder[name] = value_at(EXACT_DECODER.decode(text), id_name)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeating = Repeating(record)
    times = Counter(name for name, _ in pairs)
    repeating.repeated = frozenset(name for name, n in times.items() if n > 1)
    return repeating


def _exact(digits: str) -> Decimal | float:
    try:
        return Decimal(digits)
    except InvalidOperation:  # an exponent of many digits: as a double it would be 0
        return math.nan


DECODER = json.JSONDecoder(object_pairs_hook=_object)
EXACT_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_exact)
