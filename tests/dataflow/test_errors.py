"""Errors of Ray's tasks arrive as they were raised."""

import pytest

from pipeline.dataflow.errors import ray_errors_explained
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
def test_a_lost_worker_is_worth_another_run(ray: None) -> None:
    import ray as cluster

    with pytest.raises(RetryableError, match=r"Ray gave up: .*run again"), ray_errors_explained():
        cluster.get(cluster.remote(max_retries=0)(die).remote())
