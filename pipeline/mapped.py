"""The seam through which planning and publishing spread their work: `map` here, a cluster's tasks in `pipeline.cluster`."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Argument = TypeVar("Argument")
Output = TypeVar("Output")


class Mapped(Protocol):
    """`map`, or what gives the same in the same order from other processes: functions, items and results can be pickled."""

    def __call__(self, function: Callable[[Argument], Output], items: Iterable[Argument], /) -> Iterator[Output]: ...
