"""The seam through which planning and publishing spread their work: `map` here, tasks on a cluster."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Argument = TypeVar("Argument")
Output = TypeVar("Output")


class Mapped(Protocol):
    """Calls a function on each item, as `map` does, here or in other processes; results come in the order of the items.

    Functions, items and results can be pickled.
    """

    def __call__(self, function: Callable[[Argument], Output], items: Iterable[Argument], /) -> Iterator[Output]: ...
