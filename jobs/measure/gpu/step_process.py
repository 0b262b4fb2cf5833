"""A step as a process: its rows as they come, and what became of it."""

import json
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobs.measure.gpu.result_page import PASSED
from pipeline.processes import family, kill_processes


def run_step(
    command: list[str], limit_s: float, log: Path, environment: Mapping[str, str], add: Callable[[list[Any]], None]
) -> str:
    """Runs `command`, which writes rows to its output, one JSON list a line; what it prints else goes to `log`.

    It is ended, with all that it started, after `limit_s` seconds. Gives PASSED, or what became of it instead.
    """
    ended_by_us = threading.Event()
    with log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True)

    def end() -> None:
        ended_by_us.set()
        kill_processes(family(process.pid))

    timer = threading.Timer(limit_s, end)
    timer.start()
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            add(json.loads(line))
    timer.cancel()
    if ended_by_us.is_set():
        return f"cut off after {limit_s:.0f} s"
    return PASSED if process.returncode == 0 else f"failed, exit code {process.returncode}: see {log.name}"
