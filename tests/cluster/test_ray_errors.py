"""Errors of Ray's tasks arrive as they were raised."""

import pytest

from pipeline.cluster.ray_errors import last_line, own_error, ray_errors_explained
from pipeline.errors import RetryableError, StorageError


def fail() -> None:
    raise StorageError("s3://a/b: the store failed")


def die() -> None:
    import os

    os._exit(1)


@pytest.mark.ray
def test_an_error_of_ours_has_its_own_words(ray: None) -> None:
    import ray as cluster

    with pytest.raises(StorageError) as raised, ray_errors_explained():
        cluster.get(cluster.remote(fail).remote())
    assert type(raised.value) is StorageError
    assert str(raised.value) == "s3://a/b: the store failed"


@pytest.mark.ray
def test_an_error_of_ours_is_found_under_every_wrapper(ray: None) -> None:
    import ray as cluster
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    with pytest.raises(cluster.exceptions.RayTaskError) as raised:
        cluster.get(cluster.remote(fail).remote())
    assert isinstance(raised.value, StorageError)  # of the cause's class too, which hides it
    wrapped = RuntimeError("the worker failed")
    wrapped.__cause__ = raised.value
    for error in (raised.value, wrapped):
        found = own_error(error)
        assert type(found) is StorageError
        assert str(found) == "s3://a/b: the store failed"
    assert own_error(WorkerHealthCheckFailedError("lost", ValueError("a fault"))) is None


def test_what_stopped_a_training_is_told_before_what_followed_from_it() -> None:
    from ray.train import WorkerGroupError

    from pipeline.cluster.trainer import why

    followed = RuntimeError("Connection closed by peer")
    own, fault, full = StorageError("the store failed"), KeyError("place"), OSError(28, "No space left")
    assert why(WorkerGroupError("", {0: followed, 1: fault, 2: own})) is own
    assert why(WorkerGroupError("", {0: followed, 1: fault})) is fault
    for failures in ({0: followed}, {0: full}, {}):
        assert type(why(WorkerGroupError("all", failures))) is RetryableError


@pytest.mark.parametrize(("said", "line"), [("Traceback …\n  ValueError: 7\n", "ValueError: 7"), (" ", "RuntimeError")])
def test_the_last_line_says_what_went_wrong(said: str, line: str) -> None:
    assert last_line(RuntimeError(said)).strip() == line


@pytest.mark.ray
def test_a_lost_worker_is_worth_another_run(ray: None) -> None:
    import ray as cluster

    with pytest.raises(RetryableError, match=r"Ray gave up: .*run again"), ray_errors_explained():
        cluster.get(cluster.remote(max_retries=0)(die).remote())
