"""`python -m jobs.measure.gpu FOLDER [STEP …]`: the steps that have not passed there yet, or those that are named."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import ConfigError, RookeryError

NEEDED = ("torch", "triton", "transformers", "safetensors", "sentencepiece", "pyarrow", "pytest")


def main(arguments: Sequence[str] | None = None) -> bool:
    """Runs the steps that the arguments, or the process's own, say; tells whether all of them passed."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigError(f"not installed: {', '.join(missing)}; expected all of {', '.join(NEEDED)}")
    from jobs.measure.benchmark.machine import facts
    from jobs.measure.gpu.result_page import ResultPage
    from jobs.measure.gpu.scope import scope_of_this_machine
    from jobs.measure.gpu.step_process import run_step
    from jobs.measure.gpu.steps import STEPS

    parser = argparse.ArgumentParser(prog="deploy/gpu.sh", description="Measure all that only a GPU can show.")
    parser.add_argument("folder", type=Path, help="for gpu.json, gpu.md and log.txt")
    parser.add_argument("steps", nargs="*", metavar="step", help=f"of {', '.join(STEPS)}; default: all not passed yet")
    options = parser.parse_args(arguments)
    if unknown := set(options.steps) - STEPS.keys():
        raise ConfigError(f"no step {', '.join(sorted(unknown))}; expected of {', '.join(STEPS)}")

    device = scope_of_this_machine().device
    page = ResultPage(options.folder, facts(device) | {"triton": version("triton")} | _commit(), list(STEPS))
    names = options.steps or [name for name in STEPS if not page.passed(name)]
    environment = os.environ | ({} if device == "cuda" else {"TRITON_INTERPRET": "1"})
    for name in names:
        page.begin(name)
        started = time.monotonic()
        command = [sys.executable, "-m", "jobs.measure.gpu.one_step", name]
        log, add = options.folder / "log.txt", partial(page.add, name)
        state = run_step(command, STEPS[name].limit_s, log, environment, add)
        page.end(name, state, time.monotonic() - started)
        print(f"{name}: {state}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(page.markdown())
    return all(page.passed(name) for name in names)


def _commit() -> dict[str, str]:
    """The commit, where the code lies in a repository."""
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {"commit": asked.stdout.strip()} if asked.returncode == 0 else {}


if __name__ == "__main__":
    try:
        sys.exit(0 if main() else 1)
    except RookeryError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
