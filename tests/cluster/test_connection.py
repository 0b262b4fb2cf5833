import os
import socket
import subprocess
import sys

import pytest

from pipeline.cluster import connection
from pipeline.cluster.connection import actor_threads, ray_cluster
from pipeline.config.label import RaySettings, parse_job
from pipeline.cores import available_cores
from pipeline.errors import ConfigError, RetryableError
from pipeline.processes import family
from tests.processes import LOOPBACK, listening_addresses

REQUIRED = ["corpus.uris=x", "checkpoint.uri=x", "table.uri=x"]


@pytest.mark.ray
def test_our_own_ray_listens_on_loopback_only(ray: None):
    addresses = listening_addresses(family(os.getpid()))
    assert len(addresses) > 3
    assert set(addresses) <= LOOPBACK


@pytest.mark.ray
def test_our_own_ray_asks_for_a_token(ray: None):
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_ray_that_was_imported_too_early_is_refused():
    program = (
        "import ray; from pipeline.config.label import parse_job; from pipeline.cluster.connection import ray_cluster\n"
        f"with ray_cluster(parse_job('', {REQUIRED})): pass"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert "would listen on every interface" in result.stderr


def test_what_somebody_set_before_does_not_keep_the_token_away():
    program = (
        "import os; from pipeline.cluster.connection import prepare_own_ray\n"
        "prepare_own_ray(); import ray; prepare_own_ray(); print(os.environ['RAY_AUTH_MODE'], "
        "os.environ['MALLOC_ARENA_MAX'])"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MALLOC"))}
    environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    told = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert told.split() == ["token", "1"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], available_cores()),
        (["compute.actors=2"], max(1, available_cores() // 2)),
        (["compute.max_actors=64"], 1),
        (["compute.num_cpus=3"], 3),
        (["compute.num_gpus=1"], 1),
        (["compute.num_gpus=0.5", "compute.num_cpus=2"], 2),
    ],
    ids=["cpu", "two actors", "actors enough", "cpu with threads", "gpu", "gpu with threads"],
)
def test_threads(overrides: list[str], expected: int):
    assert actor_threads(parse_job("", REQUIRED + overrides).compute) == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["compute.num_cpus=64"], "the encoder would compute in 64 threads"),
        (["compute.actors=33"], "33 encoder actors would compute in 33 threads"),
        (["compute.max_actors=33"], "33 encoder actors would compute in 33 threads"),
    ],
)
def test_more_threads_than_cores_are_refused(overrides: list[str], message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "available_cores", lambda: 32)
    with pytest.raises(ConfigError, match=f"{message}, and this machine has 32 cores"):
        ray_cluster(parse_job("", REQUIRED + overrides))


def test_a_clusters_cores_are_not_this_machines():
    elsewhere = [*REQUIRED, "ray.address=10.0.0.1:6379", "compute.num_cpus=64"]
    ray_cluster(parse_job("", elsewhere))  # connects when it is entered


@pytest.mark.parametrize(
    ("is_cluster", "failures", "starts"),
    [(False, 1, 2), (False, 2, 2), (True, 1, 1)],
    ids=["once", "twice", "a cluster"],
)
def test_a_ray_of_our_own_that_does_not_start_is_tried_again(
    is_cluster: bool, failures: int, starts: int, monkeypatch: pytest.MonkeyPatch
):
    """Its daemons may take longer than the 30 s that Ray gives them.

    A cluster that does not answer took its time already.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}" if is_cluster else None
    tried: list[str | None] = []

    def start(address: str | None, options: dict[str, object]) -> None:
        tried.append(address)
        if len(tried) <= failures:
            raise RetryableError("Ray did not start")

    monkeypatch.setattr(connection, "_start", start)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    connected = connection.connection(RaySettings(address=address), 1)
    if failures < starts:
        with connected:
            pass
    else:
        with pytest.raises(RetryableError), connected:
            pass
    listener.close()
    assert tried == [address] * starts
