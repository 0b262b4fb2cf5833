"""A measurement in a process of its own."""

import multiprocessing
import os
from collections.abc import Callable
from typing import TypeVar

_Figure = TypeVar("_Figure")


def in_a_process(work: Callable[..., _Figure], *arguments: object, **named: object) -> _Figure:
    """Calls a function in a process of its own, whose malloc is that of a process that Ray starts for a job."""
    os.environ["MALLOC_ARENA_MAX"] = "1"  # read when a process starts; see pipeline/inference/memory.py
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments, named)
