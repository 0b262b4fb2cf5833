"""Ray nodes, each in a network namespace of its own, as `ray start --block` starts them on machines."""

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.processes import family, kill_processes
from tests.cluster.namespaces import address, inside

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
PORT = 6379
STARTED = "Ray runtime started."  # as `ray start` says it
PATIENCE_SECONDS = 240  # a guard against hanging
PREEMPTED = """
import sys
from ray._private.state import GlobalState
from ray._raylet import GcsClientOptions
from ray.core.generated.gcs_pb2 import ActorTableData
state = GlobalState()
state._initialize_global_state(
    GcsClientOptions.create(sys.argv[1], None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
)
actors = map(ActorTableData.FromString, state._connect_and_get_accessor().get_actor_table(None, None))
print(sum(actor.num_restarts_due_to_node_preemption for actor in actors))
"""


class Nodes:
    """Ray nodes by their numbers, the first is the head; `cpus` of each, and what their processes have set."""

    def __init__(self, names: list[str], cpus: list[int], folder: Path, environment: dict[str, str]) -> None:
        self._names, self._cpus, self._folder = names, cpus, folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}  # `ray start`
        self._all: list[subprocess.Popen[bytes]] = []
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        self._environment = inherited | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'tests/hooks'}{os.pathsep}{ROOT}",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",  # several nodes, which see each other only here
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "500",  # a dead node is one after seconds
            "RAY_health_check_initial_delay_ms": "1000",
            **environment,
        }

    @property
    def address(self) -> str:
        """Where drivers find it."""
        return f"{address(0)}:{PORT}"

    def start(self, *numbers: int) -> None:
        """Returns when they are part of the cluster."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while waiting := [number for number in numbers if STARTED not in self.log(number)]:
            for number in waiting:
                # on a busy machine it gives up after 30 s
                if number not in self._processes or self._processes[number].poll() is not None:
                    self._start(number)
            assert time.monotonic() < deadline, "".join(map(self.log, numbers))
            time.sleep(0.1)

    def _start(self, number: int) -> None:
        here = f"--address={self.address}" if number else f"--head --port={PORT} --include-dashboard=false"
        command = [
            *(str(BIN / "ray"), "start", "--block", *here.split(), f"--node-ip-address={address(number)}"),
            *(f"--num-cpus={self._cpus[number]}", "--object-store-memory=100000000", "--disable-usage-stats"),
        ]
        self._processes[number] = self.run(number, command)

    def run(self, number: int, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{number}.log").open("ab") as log:
            command = inside(self._names[number], command)
            process = subprocess.Popen(
                command, env=self._environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        self._all.append(process)
        return process

    def log(self, number: int) -> str:
        path = self._folder / f"{number}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def family(self) -> list[int]:
        return [member for process in self._all for member in family(process.pid)]

    def kill_raylet(self, number: int) -> None:
        for member in family(self._processes[number].pid):
            if Path(f"/proc/{member}/cmdline").read_bytes().partition(b"\0")[0].endswith(b"/raylet"):
                os.kill(member, signal.SIGKILL)
                return
        raise AssertionError(f"no raylet:\n{self.log(number)}")

    def terminate(self, number: int) -> None:
        """What a machine that is taken away, or a pod that is deleted, sends first."""
        self._processes[number].terminate()

    def end_of(self, number: int) -> int:
        return self._processes[number].wait(PATIENCE_SECONDS)

    def preempted_actors(self) -> int:
        """Counts the restarts that Ray doesn't count against an actor, as the driver's Ray knows them."""
        command = [sys.executable, "-c", PREEMPTED, self.address]
        return int(subprocess.check_output(inside(self._names[0], command), env=self._environment, cwd=ROOT))

    def end(self) -> None:
        kill_processes(reversed(self.family()))
        for process in self._all:
            process.wait()
