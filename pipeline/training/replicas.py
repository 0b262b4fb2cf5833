"""Packs of one step, computed side by side by threads of one process.

Each thread has a replica of the model: parameters that share the model's own memory, and gradients and dropout draws
apart. So no thread waits for another before the step's end. Threads that share one pack meet at every operation and
spin there: beside any other load a worker of two fell to a twentieth of its speed.

A replica costs its gradients, 4 bytes for each parameter. More replicas than a step has packs would be idle.
"""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from pipeline.training.batches import Batch

_Result = TypeVar("_Result")


class Trained(Protocol):
    """What is trained: a classifier, or an encoder that guesses masked tokens."""

    @property
    def module(self) -> nn.Module: ...

    def begin(self) -> None:
        """Switches train mode on: dropout acts."""

    def sums(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Computes a pack's weighted loss and its weight: two scalars."""


@dataclass(frozen=True, slots=True)
class Threads:
    """`count` threads that compute a pack each."""

    count: int
    pool: ThreadPoolExecutor

    def each(self, function: Callable[[int], _Result]) -> list[_Result]:
        """Calls `function` with every thread's number, at the same time; raises what one raised when all have ended."""
        futures = [self.pool.submit(function, number) for number in range(self.count)]
        return [future.result() for future in futures]


@contextmanager
def started(cores: int, packs: int) -> Iterator[Threads]:
    """Starts as many threads as there are cores, and not more than packs; cores that are left over help them."""
    count = max(1, min(cores, packs))
    torch.set_num_threads(cores // count)  # of the steps between: the optimizer's
    with ThreadPoolExecutor(count, "training", torch.set_num_threads, (cores // count,)) as pool:
        yield Threads(count, pool)


def replicated(model: Trained, count: int) -> list[Trained]:
    """Makes `count - 1` replicas of the model, which comes first.

    Call it before anything has gradients, which would be copied.
    """
    return [model, *(_replica(model) for _ in range(count - 1))]


def _replica(model: Trained) -> Trained:
    replica = copy.deepcopy(model)
    pairs = zip(replica.module.parameters(), model.module.parameters(), strict=True)
    for parameter, shared in pairs:
        parameter.data = shared.data
    return replica
