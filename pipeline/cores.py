"""What this machine is, and what it lets this process have."""

import math
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """Gives the processor's name, as Linux tells it: `AMD EPYC 9B14`."""
    lines = _text(CPUINFO).splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Reads what this machine's processor says that it can do; empty where Linux does not say."""
    for line in _text(cpuinfo).splitlines():
        if line.startswith("flags"):
            return frozenset(line.split())
    return frozenset()


def available_cores() -> int:
    """Counts the cores that this process may keep busy: its affinity's, or fewer where a control group has a quota.

    `os.cpu_count` counts the machine's, of which a container or a batch system may leave a process two of ninety-six.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [math.ceil(quota) for quota in _quotas(Path("/proc/self/cgroup"), CGROUPS)]
    return max(1, min([allowed or 1, *quotas]))


def available_memory() -> int:
    """Counts the bytes that this process and its children may take: the machine's, or fewer in a control group."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min([physical, *_memory_limits(Path("/proc/self/cgroup"), CGROUPS)]))


def _quotas(groups: Path, root: Path) -> Iterator[float]:
    """Quotas, in cores, of this process's control groups and of those above them.

    Sources: Documentation/admin-guide/cgroup-v2.rst (`cpu.max`) and cgroup-v1 (`cpu.cfs_quota_us`) of the Linux kernel.
    """
    return _limits(groups, root, "cpu", _v2_quota, _v1_quota)


def _memory_limits(groups: Path, root: Path) -> Iterator[float]:
    """Limits, in bytes, as `_quotas`. Sources: `memory.max` and `memory.limit_in_bytes` there."""
    return _limits(groups, root, "memory", _v2_memory, _v1_memory)


def _limits(
    groups: Path,
    root: Path,
    controller: str,
    v2: Callable[[Path], float | None],
    v1: Callable[[Path], float | None],
) -> Iterator[float]:
    lines = groups.read_text().splitlines() if groups.is_file() else []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield from _upwards(root, path, v2)
        elif controller in controllers.split(","):
            yield from _upwards(root / controller, path, v1)


def _upwards(root: Path, path: str, limit_of: Callable[[Path], float | None]) -> Iterator[float]:
    folder = root / path.lstrip("/")
    for level in (folder, *folder.parents):
        if (limit := limit_of(level)) is not None:
            yield limit
        if level == root:
            return


def _v2_quota(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _v1_quota(folder: Path) -> float | None:
    quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None  # -1: none


def _v2_memory(folder: Path) -> float | None:
    limit = _text(folder / "memory.max")
    return int(limit) if limit.isdigit() else None  # max: none


def _v1_memory(folder: Path) -> float | None:
    limit = _text(folder / "memory.limit_in_bytes")  # where there is none, more than any machine has
    return int(limit) if limit.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
