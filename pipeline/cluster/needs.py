"""Whether a cluster can serve a job: what must run at the same time, beside what there is and what could come.

An actor that no node has room for, or actors that leave readers no core, make Ray wait without a word and without end.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import state
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.placement_group import placement_group, remove_placement_group

from pipeline.cluster.connection import actor_threads, cluster_address
from pipeline.config.label import ComputeSettings, RaySettings
from pipeline.errors import ConfigError, RetryableError

WAITING_NOTICE_S = 30.0
JOINING_S = 5.0  # nodes of a cluster that has just started may still be on their way
MANY = 10**6
NODE_GROUP = "ray.io/node-group"  # a label that `ray start` gives a node whose starter names its group


@dataclass(frozen=True, slots=True)
class Need:
    """Processes that must run at the same time, and tasks of one CPU beside them: readers, in turn with writers."""

    process: str  # what one is, for people: `encoder actor`
    processes: int
    cpus: int
    gpus: float
    settings: str  # those that change it
    tasks: int = 1
    note: str = ""  # what else there is to say of it, after its CPUs and GPUs

    def __str__(self) -> str:
        each = _amounts(self.cpus, self.gpus)
        beside = f" and beside them {self.tasks} CPU for reading and writing" if self.tasks else ""
        return f"{self.processes} {self.process}{'s' if self.processes > 1 else ''} of {each}{self.note}{beside}"

    def bundles(self) -> list[dict[str, float]]:
        """Lists what each process and task takes, as Ray's placement groups want it."""
        each: dict[str, float] = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        return [each] * self.processes + [{"CPU": 1}] * self.tasks


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of one kind: what each has, and how many there are or could be."""

    cpus: float
    gpus: float
    count: int = 1

    def room(self, need: Need) -> int:
        """Counts the processes of a need that fit."""
        fit = [self.cpus // need.cpus, *([self.gpus // need.gpus] if need.gpus else [])]
        return int(min(fit)) * self.count


def encoders(compute: ComputeSettings, checkpoints: int = 1) -> Need:
    """Says what labelling needs. Each actor holds every checkpoint of the run: as many actors serve several."""
    gpus = "compute.num_gpus, " if compute.num_gpus else ""
    return Need(
        process="encoder actor",
        processes=compute.actors,
        cpus=actor_threads(compute),
        gpus=compute.num_gpus,
        settings=f"{gpus}compute.num_cpus or compute.actors",
        note=f" for {checkpoints} checkpoints" if checkpoints > 1 else "",
    )


def can_serve(need: Need, nodes: list[Nodes]) -> bool:
    """Tells whether all of a need would fit at once if nothing else ran there."""
    spare = sum(kind.cpus * kind.count for kind in nodes) - need.processes * need.cpus
    return sum(kind.room(need) for kind in nodes) >= need.processes and spare >= need.tasks


def find_room(need: Need, ray_settings: RaySettings, wait_s: float, tell: Callable[[str], None]) -> None:
    """Returns when the need can be met.

    Raises ConfigError where it never can be, RetryableError after `wait_s` seconds.

    `tell` gets a line now and then that says what is waited for.
    """
    check_offer(need, ray_settings)
    if cluster_address(ray_settings):  # in a Ray of our own is nobody else
        wait_for_room(need, wait_s, tell)


def check_offer(need: Need, ray_settings: RaySettings) -> None:
    """Raises ConfigError where what a job runs on can never serve the need. A Ray of our own is joined by no node."""
    check_cluster(need, joining_s=JOINING_S if cluster_address(ray_settings) else 0)


def check_cluster(need: Need, *, joining_s: float = JOINING_S) -> None:
    """Raises ConfigError where the cluster can never serve the need.

    Where an autoscaler tells which nodes it may add, they count. Where one seems to run and doesn't tell, anything may
    come. Elsewhere nodes that are just joining are looked for during `joining_s`.
    """
    until = time.monotonic() + joining_s
    while not can_serve(need, offer := nodes_now() + nodes_to_come()):
        if _is_grown() and not nodes_to_come():
            return
        if nodes_to_come() or time.monotonic() > until:
            raise ConfigError(
                f"the job needs {need}; the cluster has {nodes_described(offer)}: set {need.settings} lower, or take a "
                "larger cluster"
            )
        time.sleep(1)


def wait_for_room(need: Need, seconds: float, tell: Callable[[str], None]) -> None:
    """Waits until the cluster has room for all of the need at once; an autoscaler is asked for it.

    Raises RetryableError after `seconds`. `tell` gets a line every 30 s that says for what it waits.
    """
    group = placement_group(need.bundles())
    started = time.monotonic()
    try:
        while not group.wait(max(0.0, min(WAITING_NOTICE_S, started + seconds - time.monotonic()))):
            waited = time.monotonic() - started
            free = ray.available_resources()
            offer = _amounts(free.get("CPU", 0), free.get("GPU", 0))
            line = f"waiting for room on the cluster: the job needs {need}; free now: {offer}"
            if waited >= seconds:
                raise RetryableError(
                    f"{line}; given up after {waited:,.0f} s (compute.wait): run again, or let it wait longer"
                )
            tell(f"{line} ({waited:,.0f} s so far)")
    finally:
        remove_placement_group(group)


def nodes_now() -> list[Nodes]:
    """Lists the cluster's living nodes."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Nodes(each.get("CPU", 0), each.get("GPU", 0)) for each in alive]


def nodes_to_come() -> list[Nodes]:
    """Lists what an autoscaler says that it may add to what there is; empty where none says so.

    A negative count means any number.
    """
    config = state.get_cluster_config()
    groups = config.node_group_configs if config else []
    return [
        Nodes(
            group.resources.get("CPU", 0),
            group.resources.get("GPU", 0),
            MANY if group.max_count < 0 else group.max_count,
        )
        for group in groups
    ]


def _is_grown() -> bool:
    """Whether a program starts this cluster's nodes by groups, as KubeRay and Ray's launcher do: it may start more.

    An autoscaler that only watches, as the one beside every `ray start`, calls each node a group of its own.
    """
    if "RAY_CLUSTER_NAME" in os.environ:  # of a container that KubeRay started
        return True
    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    groups = (status.get("autoscaler_report") or {}).get("active_nodes") or {}
    nodes = ray.nodes()
    watched = {f"node_{node['NodeID']}" for node in nodes}
    return bool(groups.keys() - watched) or any(node["Labels"].get(NODE_GROUP) for node in nodes)


def nodes_described(offer: list[Nodes]) -> str:
    """Writes what nodes have: `2 nodes with 6 CPUs and 0 GPUs in all, the largest with 4 CPUs and 0 GPUs`."""
    nodes = sum(kind.count for kind in offer)
    largest = max(offer, key=lambda kind: (kind.gpus, kind.cpus), default=Nodes(0, 0))
    total = _amounts(sum(k.cpus * k.count for k in offer), sum(k.gpus * k.count for k in offer), always=True)
    if nodes < 2:
        return total
    return f"{nodes} nodes with {total} in all, the largest with {_amounts(largest.cpus, largest.gpus, always=True)}"


def _amounts(cpus: float, gpus: float, *, always: bool = False) -> str:
    shown = f"{cpus:g} CPU{'' if cpus == 1 else 's'}"
    return f"{shown} and {gpus:g} GPU{'' if gpus == 1 else 's'}" if gpus or always else shown
