"""Processes that this one started, from /proc: nothing where there is none."""

import contextlib
import os
import signal
from pathlib import Path


def family(root: int) -> list[int]:
    """A process and all that it started, directly or not; parents come before their children."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def end_children() -> None:
    """Kills all that this process started."""
    for process in family(os.getpid())[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
