"""The Ray that a job runs on: a cluster's, or its own, in this process and on loopback.

Ray reads some of its environment when it is imported, so this module sets it first and imports ray late.
"""

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.label import ComputeSettings, Job, RaySettings
from pipeline.config.train import WorkerSettings
from pipeline.cores import available_cores
from pipeline.errors import ConfigError, RetryableError, RookeryError

STARTS = 2  # of a Ray of our own: on a busy machine its daemons may take longer than the 30 s that it gives them
CONNECTING_S = 30.0  # a head that has just been started listens after some seconds
KNOCK_S = 0.5
OBJECT_STORE_BYTES = 1_000_000_000  # of a Ray of our own: the tokens of some units


def ray_cluster(job: Job) -> contextlib.AbstractContextManager[None]:
    """Connects to the job's cluster, or to Ray in this process where it names none. Keeps a connection that there is.

    Raises ConfigError where this machine has fewer cores than the encoder's threads, RetryableError where Ray does not
    start.
    """
    if not cluster_address(job.ray):
        check_own_cores(job)
    # tokenizing takes a few percent of a core beside the encoder, so readers are counted on top of its threads
    return connection(job.ray, _pool_threads(job.compute) + available_cores())


def check_own_cores(job: Job) -> None:
    """Raises ConfigError where a job that has no cluster would compute in more threads than this machine has cores."""
    pool = job.compute.max_actors or job.compute.actors
    check_cores(
        _pool_threads(job.compute),
        f"{pool} encoder actors" if pool > 1 else "the encoder",
        "compute.num_cpus or compute.actors",
    )


def _pool_threads(compute: ComputeSettings) -> int:
    return (compute.max_actors or compute.actors) * actor_threads(compute)


def check_cores(n_threads: int, what: str, settings: str) -> None:
    """Raises ConfigError for more threads than cores: together they would take longer than fewer would."""
    if n_threads > available_cores():
        raise ConfigError(
            f"{what} would compute in {n_threads} threads, and this machine has {available_cores()} cores for them: "
            f"set {settings} lower"
        )


def cluster_address(settings: RaySettings) -> str | None:
    """Gives the address of the cluster that a job names; None for Ray in this process."""
    return settings.address or os.environ.get("RAY_ADDRESS") or None


def is_connected() -> bool:
    """Tells whether this process has Ray already; imports nothing."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@contextlib.contextmanager
def connection(settings: RaySettings, num_cpus: int) -> Iterator[None]:
    """Connects to the cluster that the settings name, or to Ray in this process with `num_cpus`.

    Keeps a connection that there is.

    Raises ConfigError for an address of another kind, RetryableError where nobody answers there or Ray does not start.
    """
    address = cluster_address(settings)
    if not address:
        prepare_own_ray()
    import ray

    if ray.is_initialized():
        yield
        return
    if address:
        check_address(address)
    options = {} if address else _own_ray(num_cpus)
    for attempt in range(STARTS):
        try:
            _start(address, options)
            break
        except RetryableError:
            ray.shutdown()
            if address or attempt == STARTS - 1:
                raise
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str, seconds: float = CONNECTING_S) -> None:
    """Waits until somebody listens at a cluster's address: Ray itself would wait for 14 minutes, without a word.

    Raises ConfigError for an address of another kind, RetryableError where nobody listens within `seconds`.
    """
    where = f"ray.address {address}" if os.environ.get("RAY_ADDRESS") != address else f"RAY_ADDRESS {address}"
    if address.startswith(("http://", "https://")):
        raise ConfigError(f"{where}: is a job server's, for `ray job submit`; expected the head's HOST:6379, or auto")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():  # auto, or a name of Ray's own
        return
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=max(0.1, until - time.monotonic())).close()
            return
        except OSError as error:
            if time.monotonic() + KNOCK_S > until:
                raise RetryableError(
                    f"{where}: nobody answers there ({error}); start the cluster, or correct the address "
                    "(`ray status` on the head prints it); run again: finished units are kept"
                ) from error
        time.sleep(KNOCK_S)


def _start(address: str | None, options: dict[str, object]) -> None:
    import ray

    with _native_log_lines_hidden(), _signal_handlers_kept():
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **options)
        except ValueError:
            raise
        except Exception as error:  # a bare one, where Ray's daemons are not up within its 30 s
            if address:
                raise RetryableError(
                    f"Ray at {address} could not be connected to ({error}); its token may be another one: `rookery "
                    "doctor --config JOB_FILE` tells why. Then run again: finished units are kept"
                ) from error
            raise RetryableError(f"Ray did not start ({error}); run again: finished units are kept") from error


@contextlib.contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """`ray.init` makes SIGTERM end the process by a handler of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def actor_threads(compute: ComputeSettings) -> int:
    """Counts the CPU threads of one encoder actor."""
    return _threads_of_one(compute, compute.max_actors or compute.actors)


def worker_threads(compute: WorkerSettings) -> int:
    """Counts the CPU threads of one training worker."""
    return _threads_of_one(compute, compute.workers)


def _threads_of_one(compute: ComputeSettings | WorkerSettings, processes: int) -> int:
    equal_part = max(1, available_cores() // processes)
    return compute.num_cpus or (1 if compute.num_gpus else equal_part)


def prepare_own_ray() -> None:
    """Sets the environment of a Ray of our own.

    Raises RookeryError if ray was imported before: it would not heed it.
    """
    if "ray" in sys.modules:
        if os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0":
            return
        raise RookeryError("ray was imported before its environment was set, and would listen on every interface")
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or it listens on every interface, even when told 127.0.0.1
        # other users of this machine reach loopback too; this token is in this process and its children only
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "GLOO_SOCKET_IFNAME": "lo",  # workers that train together
        "NCCL_SOCKET_IFNAME": "lo",
        "MALLOC_ARENA_MAX": "1",  # see pipeline/inference/memory.py; read when a worker starts
        "RAY_BACKEND_LOG_LEVEL": os.environ.get("RAY_BACKEND_LOG_LEVEL", "fatal"),  # what matters is raised
    }


@contextlib.contextmanager
def _native_log_lines_hidden() -> Iterator[None]:
    """Hides what Ray's C++ writes to standard error past Python; what goes wrong in `ray.init` is raised as well."""
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
