"""Processes that this one started, from /proc: nothing where there is none."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path


def family(root: int) -> list[int]:
    """Lists a process and all that it started, directly or not, by id; parents come before their children."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
    processes = [root]
    for process in processes:
        processes += [child for child, parent in parents.items() if parent == process]
    return processes


def end_children() -> None:
    """Kills all that this process started."""
    kill_processes(family(os.getpid())[1:])


def kill_processes(processes: Iterable[int]) -> None:
    """Kills processes by id, those that have ended meanwhile aside."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
