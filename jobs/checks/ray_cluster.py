"""The Ray that a job would run on: how this machine names it, and what it offers."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from jobs.checks.examination import CHECK_S, Check
from jobs.finding import Finding
from pipeline.cluster.connection import cluster_address, ray_cluster
from pipeline.cluster.offer import ask_cluster
from pipeline.config.label import ComputeSettings, Job, RaySettings

ADVICE = "look at the head's logs"
ASKING_S = 25.0  # with Python's start and Ray's import: less than the patience with a check
DEFAULT_TOKEN_FILE = Path(".ray/auth_token")  # below the home folder; Ray's own


def ray_checks(job: Job | None, checkpoints: int = 1) -> list[Check]:
    """Lists the checks of the cluster that a job names, or the environment; of Ray in this process where none does."""
    checks = [Check("Ray's environment", lambda: [ray_environment(os.environ, Path.home())], ADVICE)]
    if address := cluster_address(job.ray if job else RaySettings()):
        compute = job.compute if job else ComputeSettings()
        look = lambda: cluster(address, compute, checkpoints)  # noqa: E731
        checks.append(Check("Ray cluster", look, ADVICE, CHECK_S))
    elif job:
        checks.append(Check("Ray", lambda: [own_ray(job)], "set compute.num_cpus or compute.actors lower"))
    return checks


def ray_environment(environment: Mapping[str, str], home: Path) -> Finding:
    """Looks at the variables by which Ray finds a cluster and its token. Shows no token."""
    subject, address = "Ray's environment", environment.get("RAY_ADDRESS")
    seen = f"RAY_ADDRESS is {address}" if address else "no RAY_ADDRESS"
    if environment.get("RAY_AUTH_MODE") != "token":
        return Finding(subject, "ok", f"{seen}, no token")
    file = Path(environment.get("RAY_AUTH_TOKEN_PATH") or home / DEFAULT_TOKEN_FILE)
    source = "RAY_AUTH_TOKEN" if environment.get("RAY_AUTH_TOKEN") else str(file) if file.is_file() else None
    if source:
        return Finding(subject, "ok", f"{seen}, a token from {source}")
    advice = "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
    return Finding(subject, "failure", f"{seen}; RAY_AUTH_MODE is token, and there is no token", advice)


def cluster(address: str, compute: ComputeSettings, checkpoints: int) -> Iterator[Finding]:
    """Asks a cluster what it has, and whether that will do. Raises ConfigError, RetryableError."""
    offer = ask_cluster(address, compute, checkpoints, ASKING_S)
    yield Finding("Ray cluster", "ok", f"{address}: Ray {offer.version}, as here; {offer.nodes}")
    if offer.problem:
        seen, _, advice = offer.problem.partition(": set ")
        yield Finding("its room", "failure", seen, f"set {advice}")
    else:
        yield Finding("its room", "ok", f"enough for {offer.need}")


def own_ray(job: Job) -> Finding:
    """Looks whether Ray in this process, where a job names no cluster, has cores for its actors. Raises ConfigError."""
    ray_cluster(job)  # counts the cores; it connects where it is entered
    return Finding("Ray", "ok", "starts in this process for a run, on loopback, with a token of its own")
