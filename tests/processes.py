"""What processes are given, what they listen on and how much memory they took.

The latter two are read from /proc: `ss` is not on every machine.
"""

import json
from pathlib import Path

LISTENING = "0A"
LOOPBACK = {  # as /proc/net writes addresses
    "0100007F",  # 127.0.0.1
    "0000000000000000FFFF00000100007F",  # ::ffff:127.0.0.1
    "00000000000000000000000001000000",  # ::1
}


def on_ray(address: str, environment: dict[str, str]) -> dict[str, str]:
    """Adds that a command runs on the Ray at this address, and that its workers there get the environment too."""
    job_config = json.dumps({"runtime_env": {"env_vars": environment}})
    return environment | {"RAY_ADDRESS": address, "RAY_JOB_CONFIG_JSON_ENV_VAR": job_config}


def listening_addresses(processes: list[int]) -> list[str]:
    """The local addresses, in hexadecimal and without their ports, on which the processes take connections."""
    sockets = {
        link[len("socket:[") : -1] for process in processes for link in _links(process) if link.startswith("socket:[")
    }
    tables = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
    rows = [row.split() for path in tables for row in path.read_text().splitlines()[1:]]
    return [row[1].partition(":")[0] for row in rows if row[3] == LISTENING and row[9] in sockets]


def _links(process: int) -> list[str]:
    try:
        return [str(link.readlink()) for link in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:  # it ended meanwhile
        return []


def peak_kilobytes() -> int:
    """Most memory resident at once since this program began. ru_maxrss would count the parent that forked it too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
