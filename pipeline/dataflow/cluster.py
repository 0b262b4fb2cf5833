"""The Ray that a job runs on: a cluster's, or its own, in this process and on loopback.

Ray reads some of its environment when it is imported, so this module sets it first and imports ray late.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import ComputeSettings, Job, RaySettings
from pipeline.errors import RetryableError, RookeryError

OBJECT_STORE_BYTES = 1_000_000_000  # of a Ray of our own: the tokens of some units


def ray_cluster(job: Job) -> contextlib.AbstractContextManager[None]:
    """A connection to the job's cluster, or Ray in this process where it names none. Keeps a connection that there is."""
    # tokenizing takes a few percent of a core beside the encoder, so readers are counted on top of its threads
    return connection(job.ray, job.compute.actors * threads(job.compute) + (os.cpu_count() or 1))


@contextlib.contextmanager
def connection(settings: RaySettings, num_cpus: int) -> Iterator[None]:
    """The same for any job; `num_cpus` is what a Ray of our own counts with."""
    address = settings.address or os.environ.get("RAY_ADDRESS")
    if not address:
        prepare_own_ray()
    import ray

    if ray.is_initialized():
        yield
        return
    options = {} if address else _own_ray(num_cpus)
    with _native_log_lines_hidden():
        try:
            ray.init(
                address=address or "local", log_to_driver=False, logging_level="ERROR", **options
            )
        except ValueError:
            raise
        except Exception as error:  # a bare one, where Ray's daemons are not up within its 30 s
            raise RetryableError(
                f"Ray did not start ({error}); run again: finished units are kept"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def threads(compute: ComputeSettings) -> int:
    """CPU threads of one encoder actor."""
    return compute.num_cpus or (1 if compute.num_gpus else os.cpu_count() or 1)


def prepare_own_ray() -> None:
    """Sets the environment of a Ray of our own. Raises RookeryError if ray was imported before: it would not heed it."""
    if "ray" in sys.modules:
        if os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0":
            return
        raise RookeryError(
            "ray was imported before its environment was set, and would listen on every interface"
        )
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or it listens on every interface, even when told 127.0.0.1
        # other users of this machine reach loopback too; this token is in this process and its children only
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "GLOO_SOCKET_IFNAME": "lo",  # workers that train together
        "NCCL_SOCKET_IFNAME": "lo",
        "MALLOC_ARENA_MAX": "1",  # see pipeline/inference/memory.py; read when a worker starts
        "RAY_BACKEND_LOG_LEVEL": os.environ.get(
            "RAY_BACKEND_LOG_LEVEL", "fatal"
        ),  # what matters is raised
    }


@contextlib.contextmanager
def _native_log_lines_hidden() -> Iterator[None]:
    """Ray's C++ writes to this process's standard error past Python; what goes wrong in `ray.init` is raised as well."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _own_ray(num_cpus: int) -> dict[str, object]:
    return {
        "num_cpus": num_cpus,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
