"""Sequences that make what is read of them anew."""

from collections.abc import Sequence
from operator import eq
from typing import TypeVar

Value = TypeVar("Value", covariant=True)


class ValueSequence(Sequence[Value]):
    """One that equals any other with equal items, a tuple as well as one of its kind; nobody needs its hash."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # it would read all of them
