import json
import os
import time

import pytest
import ray as ray_library
from hypothesis import given, strategies as st

from pipeline.cluster import needs
from pipeline.cluster.needs import Need, Nodes, can_serve, check_cluster, encoders, wait_for_room
from pipeline.config.label import parse_job
from pipeline.errors import ConfigError, RetryableError

REQUIRED = ["corpus.uris=x", "checkpoint.uri=x", "table.uri=x"]


def need(processes: int, cpus: int, gpus: float = 0, tasks: int = 1) -> Need:
    return Need("encoder actor", processes, cpus, gpus, "compute.actors", tasks)


@pytest.mark.parametrize(
    ("needed", "nodes", "served"),
    [
        (need(1, 1), [Nodes(2, 0)], True),
        (need(1, 1), [Nodes(1, 0)], False),  # readers would starve
        (need(2, 1), [Nodes(2, 0)], False),
        (need(1, 1, 1), [Nodes(64, 0)], False),
        (need(2, 1, 0.5), [Nodes(4, 1)], True),
        (need(3, 1, 0.5), [Nodes(4, 1)], False),
        (need(2, 3), [Nodes(4, 0, 2)], True),
        (need(2, 4), [Nodes(4, 0, 2)], False),  # nothing is left for readers
        (need(2, 4), [Nodes(4, 0, 2), Nodes(1, 0)], True),
        (need(1, 8), [Nodes(4, 0, 10)], False),  # no node is large enough
        (need(4, 1, 1), [Nodes(2, 0), Nodes(8, 1, 4)], True),
        (need(2, 2, tasks=0), [Nodes(4, 0)], True),
    ],
)
def test_what_can_be_served(needed: Need, nodes: list[Nodes], served: bool) -> None:
    assert can_serve(needed, nodes) is served


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.builds(Nodes, st.integers(0, 9), st.just(0), st.integers(1, 3)), max_size=4),
)
def test_served_exactly_where_a_search_finds_places(processes: int, cpus: int, nodes: list[Nodes]) -> None:
    free = [kind.cpus for kind in nodes for _ in range(kind.count)]
    for _ in range(processes):
        place = next((n for n, left in enumerate(free) if left >= cpus), None)
        if place is None:
            assert not can_serve(need(processes, cpus), nodes)
            return
        free[place] -= cpus
    assert can_serve(need(processes, cpus), nodes) is (sum(free) >= 1)


def test_a_job_says_what_it_needs() -> None:
    compute = parse_job("", [*REQUIRED, "compute.actors=2", "compute.num_gpus=1"]).compute
    needed = encoders(compute)
    assert str(needed) == ("2 encoder actors of 1 CPU and 1 GPU and beside them 1 CPU for reading and writing")
    assert needed.bundles() == [{"CPU": 1, "GPU": 1}, {"CPU": 1, "GPU": 1}, {"CPU": 1}]


@pytest.mark.ray
def test_what_the_cluster_never_has_is_refused_with_need_and_offer(ray: None) -> None:
    with pytest.raises(
        ConfigError,
        match=r"needs 1 encoder actor of 1 CPU and 1 GPU and .* has \d+ CPUs and 0 GPUs: set compute.actors lower",
    ):
        check_cluster(need(1, 1, 1), joining_s=0)
    check_cluster(need(1, 1), joining_s=0)


@pytest.mark.ray
def test_what_may_still_come_is_waited_for_said_and_given_up(ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "WAITING_NOTICE_S", 0.2)
    told: list[str] = []
    started = time.monotonic()
    with pytest.raises(RetryableError, match=r"compute\.wait"):
        wait_for_room(need(1, 1000), 0.7, told.append)
    assert time.monotonic() - started >= 0.7
    assert len(told) >= 2
    assert "the job needs 1 encoder actor of 1000 CPUs" in told[0]
    wait_for_room(need(1, 1), 60, told.append)  # and room that there is is found


@pytest.mark.ray
@pytest.mark.parametrize(
    ("report", "environment", "may_grow"),
    [
        ({"active_nodes": {"head-group": 1}}, {}, True),
        ({"active_nodes": {"node_OWN": 1}}, {}, False),  # an autoscaler that only watches
        ({"active_nodes": {}}, {}, False),
        (None, {"RAY_CLUSTER_NAME": "topics"}, True),  # KubeRay's, which says nothing yet
    ],
    ids=["a group", "watched", "none yet", "KubeRay"],
)
def test_where_an_autoscaler_may_add_nodes_what_is_missing_may_come(
    ray: None,
    monkeypatch: pytest.MonkeyPatch,
    report: dict[str, dict[str, int]] | None,
    environment: dict[str, str],
    may_grow: bool,
) -> None:
    (own,) = (node["NodeID"] for node in ray_library.nodes())
    status = json.dumps({"autoscaler_report": report}).replace("OWN", own).encode()
    monkeypatch.setattr(needs, "_internal_kv_get", lambda _: status)
    monkeypatch.setattr("os.environ", os.environ | environment)
    if may_grow:
        check_cluster(need(1, 1, 1), joining_s=0)
    else:
        with pytest.raises(ConfigError):
            check_cluster(need(1, 1, 1), joining_s=0)
