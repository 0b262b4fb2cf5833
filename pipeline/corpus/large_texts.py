"""A text of many megabytes out of Parquet stays in the memory into which Arrow decoded it.

As Python's str, which takes four bytes for each character if one of them is an emoji, and on to Arrow again it would
lie in memory four times. So a row holds it as an Arrow array of one string, over bytes that are shared.
"""

import codecs
from collections.abc import Iterable
from typing import cast

import numpy as np
import pyarrow as pa

LARGE_BYTES = 2**24
STEP = 2**20  # bytes that are decoded at a time to find where they are no UTF-8


def binary_values(column: pa.Array) -> Iterable[object]:
    """Python values of a column, one after the other; a large one as pa.Buffer, which is not a copy."""
    if column.nbytes > LARGE_BYTES and pa.types.is_binary(column.type):
        column = column.cast(pa.large_binary())
    if column.nbytes > LARGE_BYTES and pa.types.is_large_binary(column.type):
        return (_value(column.slice(index, 1)) for index in range(len(column)))
    return cast(list[object], column.to_pylist())


def _value(one: pa.LargeBinaryArray) -> object:
    if one.nbytes <= LARGE_BYTES:
        return one[0].as_py()
    start, stop = np.frombuffer(one.buffers()[1], np.int64)[one.offset : one.offset + 2]
    return one.buffers()[2].slice(start, stop - start)  # a scalar would copy it


def large_text(buffer: pa.Buffer) -> pa.StringArray:
    """Raises UnicodeDecodeError as bytes.decode does."""
    offsets = pa.array([0, buffer.size], pa.int32()).buffers()[1]
    text = pa.StringArray.from_buffers(1, offsets, buffer)
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        _raise_where_it_is_no_utf8(buffer)
        raise
    return text


def _raise_where_it_is_no_utf8(buffer: pa.Buffer) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, buffer.size, STEP):
        kept = len(decoder.getstate()[0])  # of a character that the step before has begun
        try:
            decoder.decode(memoryview(buffer)[at : at + STEP], at + STEP >= buffer.size)
        except UnicodeDecodeError as error:
            start, stop = (at - kept + place for place in (error.start, error.end))
            raise UnicodeDecodeError("utf-8", error.object, start, stop, error.reason) from error
