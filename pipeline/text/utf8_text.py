"""A text that lies in memory as UTF-8, of which only the characters that are asked for become a str.

Python's str takes four bytes for each character of a text if one of them is an emoji.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

LARGE_COLUMN_BYTES = 2**24
BLOCK = 2**16  # bytes: so many are decoded more than are asked for, at most, at either end


class Text(Protocol):
    """What a tokenizer that works in parts asks of a text: a str has it too."""

    def __len__(self) -> int:
        """Counts the characters."""

    def __getitem__(self, characters: slice, /) -> str:
        """Gives characters [start, stop)."""

    def isspace(self) -> bool:
        """Tells whether there are blanks only, and one at least."""


@dataclass(frozen=True, slots=True)
class Utf8Text:
    """A text over bytes that are valid UTF-8."""

    data: memoryview
    starts: npt.NDArray[np.int64]  # of each block: the character at which it begins; then how many there are

    @classmethod
    def of(cls, buffer: pa.Buffer) -> "Utf8Text":
        """Counts the characters of a buffer of valid UTF-8, without a copy."""
        data = memoryview(buffer)
        blocks = range(0, len(data), BLOCK)
        counts = [np.count_nonzero(_begins(data[at : at + BLOCK])) for at in blocks]
        return cls(data, np.cumsum([0, *counts]))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, characters: slice, /) -> str:
        start, stop, _ = characters.indices(len(self))
        if start >= stop:
            return ""
        first, last = np.searchsorted(self.starts, [start, stop - 1], side="right") - 1
        begin, end = self._boundary(first * BLOCK), self._boundary((last + 1) * BLOCK)
        at = int(self.starts[first])
        return str(self.data[begin:end], "utf-8")[start - at : stop - at]

    def __str__(self) -> str:
        return str(self.data, "utf-8")

    def isspace(self) -> bool:
        """Tells whether there are blanks only, and one at least."""
        starts = range(0, len(self), BLOCK)
        return len(self) > 0 and all(self[at : at + BLOCK].isspace() for at in starts)

    def _boundary(self, byte: int) -> int:
        """The first byte of a character, at or behind this one."""
        few = _begins(self.data[byte : byte + 4])
        return byte + int(few.argmax()) if few.any() else len(self.data)


def _begins(data: memoryview) -> npt.NDArray[np.bool_]:
    """Of each byte, whether a character begins there."""
    return np.frombuffer(data, np.int8) >= -64  # no 0b10...... as a two's complement


def texts_of(column: pa.StringArray) -> list[Text | None]:
    """Makes a text of each value, of which only small ones become str; None of null."""
    if column.nbytes <= LARGE_COLUMN_BYTES:
        return list(column.to_pylist())
    return [_text(column.slice(index, 1)) for index in range(len(column))]


def _text(one: pa.StringArray) -> Text | None:
    if one.nbytes <= LARGE_COLUMN_BYTES:
        return cast(str | None, one[0].as_py())
    start, stop = np.frombuffer(one.buffers()[1], np.int32)[one.offset : one.offset + 2]
    return Utf8Text.of(one.buffers()[2].slice(start, stop - start))


def sha256(text: Text) -> str:
    """Hashes a text as UTF-8; gives SHA-256 in hex."""
    data = text.data if isinstance(text, Utf8Text) else str(text).encode()
    return hashlib.sha256(data).hexdigest()
