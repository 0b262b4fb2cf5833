"""What went wrong on Ray, as this job's own errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from pipeline.errors import RetryableError, RookeryError


@contextmanager
def ray_errors_explained() -> Iterator[None]:
    """Raises what a task raised, as it raised it, and RetryableError where Ray lost a worker more often than it may."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        raise own_error(error) or error from error
    except ray.exceptions.RayError as error:
        raise RetryableError(f"Ray gave up: {last_line(error)}; run again: finished units are kept") from error


def own_error(error: BaseException) -> RookeryError | None:
    """Finds what a task or a worker raised under Ray's wrappers; None if it is no error of ours."""
    cause: BaseException | None = error
    # a wrapper may be of the cause's class too, and then its text is the worker's stack
    while cause is not None and (isinstance(cause, ray.exceptions.RayTaskError) or not isinstance(cause, RookeryError)):
        cause = getattr(cause, "cause", None) or cause.__cause__
    return cause


def last_line(error: BaseException) -> str:
    """Takes the last line of an error: those before it are the worker's stack. The class's name where there is none."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
