"""Publishing's `map` on Ray tasks. Needs `ray_cluster`."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import ray

from pipeline.cluster.ray_errors import ray_errors_explained

RETRIES = 3  # of a task whose worker died
TASKS_PER_CPU = 2  # in flight: the next one lies ready when one is done
A = TypeVar("A")
B = TypeVar("B")


def map_on_ray(function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
    """Calls a function on each item in a task of its own; results come in the order of the items, and few wait here.

    Raises:
        RookeryError: what the function raised, as it raised it.
        RetryableError: Ray lost a worker more often than it may.
    """
    with ray_errors_explained():
        at_once = TASKS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
        shared = ray.put(function)  # sent once to each machine
        waiting: deque[ray.ObjectRef] = deque()
        for item in items:
            waiting.append(_call.remote(shared, item))
            if len(waiting) >= at_once:
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())


@ray.remote(num_cpus=1, max_retries=RETRIES)  # type: ignore[untyped-decorator]
def _call(function: Callable[[A], B], item: A) -> B:
    return function(item)
