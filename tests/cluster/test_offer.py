"""What a cluster says, and what is said where none does: nobody there, not Ray, another token, a job server."""

import os
import socket
import threading
import time

import pytest
import ray as ray_library

from pipeline.cluster.connection import check_address, connection
from pipeline.cluster.offer import ask_cluster
from pipeline.config.label import ComputeSettings, RaySettings
from pipeline.errors import ConfigError, RetryableError
from tests.s3 import free_ports

ONE = ComputeSettings(num_cpus=1)


@pytest.mark.ray
def test_a_cluster_says_what_it_has_and_whether_that_will_do(ray_address: str):
    offer = ask_cluster(ray_address, ONE, 2, 60)
    assert (offer.version, offer.gpus, offer.problem) == (ray_library.__version__, 0, None)
    assert "CPUs and 0 GPUs" in offer.nodes
    assert offer.need == "1 encoder actor of 1 CPU for 2 checkpoints and beside them 1 CPU for reading and writing"
    wanting = ask_cluster(ray_address, ONE.model_copy(update={"num_gpus": 1}), 1, 60)
    assert "the job needs 1 encoder actor of 1 CPU and 1 GPU" in (wanting.problem or "")


@pytest.mark.ray
def test_another_token_is_told_in_seconds(ray_address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(os.environ, "RAY_AUTH_TOKEN", "e" * 64)
    with pytest.raises(ConfigError, match=r"refuses this machine's token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN"):
        ask_cluster(ray_address, ONE, 1, 60)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", "/nowhere")
    with pytest.raises(ConfigError, match="RAY_AUTH_MODE is token and there is no token; set RAY_AUTH_TOKEN"):
        ask_cluster(ray_address, ONE, 1, 60)


def test_where_nobody_listens_is_told_at_once():
    (port,) = free_ports(1)
    started = time.monotonic()
    with pytest.raises(RetryableError, match=rf"127\.0\.0\.1:{port}: nobody answers there .*; start the cluster"):
        ask_cluster(f"127.0.0.1:{port}", ONE, 1, 0.5)
    assert time.monotonic() - started < 5


def test_somebody_who_is_not_ray():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(RetryableError, match="somebody listens there, and it did not answer as Ray does"):
            ask_cluster(address, ONE, 1, 2)


def test_a_run_waits_for_a_head_that_is_just_starting():
    (port,) = free_ports(1)
    heads: list[socket.socket] = []
    head = threading.Timer(1, lambda: heads.append(socket.create_server(("127.0.0.1", port))))
    head.start()
    check_address(f"127.0.0.1:{port}", 20)  # or raises
    head.join()
    heads[0].close()


@pytest.mark.parametrize("address", ["auto", "local"])
def test_an_address_without_a_port_is_for_ray_to_find(address: str):
    check_address(address, 0)


def test_the_address_of_a_job_server_is_named_by_who_set_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with (
        pytest.raises(ConfigError, match=r"^RAY_ADDRESS http.*: is a job server's, .* expected the head's HOST:6379"),
        connection(RaySettings(), 1),
    ):
        pass
