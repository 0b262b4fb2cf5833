"""Units take time, and each is written down: ROOKERY_TEST_SLOW_UNITS is `<pace> <steps>`, two files.

The first has the seconds that a unit takes, now. A line of the second: begun (or isolated) or computed, the unit, and
the address of the Ray node that computes it.
"""

import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.hooks.imports import after_import

PACE, _, STEPS = os.environ.get("ROOKERY_TEST_SLOW_UNITS", "").partition(" ")


def install() -> None:
    if STEPS:
        after_import("pipeline.cluster.encode_stage", encode_stage)


def encode_stage(module: ModuleType) -> None:
    logits = module.TableEncoder.logits

    def slow(self: Any, packs: Any, *, isolated: bool) -> Any:
        if not packs["documents"][0].is_valid:
            return logits(self, packs, isolated=isolated)
        unit = packs["unit"][0].as_py()
        write_down("isolated" if isolated else "begun", unit)
        started = time.monotonic()
        while time.monotonic() < started + float(Path(PACE).read_text() or 0):
            time.sleep(0.02)
        result = logits(self, packs, isolated=isolated)
        write_down("computed", unit)
        return result

    module.TableEncoder.logits = slow


def write_down(what: str, unit: str) -> None:
    import ray.util

    with Path(STEPS).open("a") as steps:
        steps.write(f"{what} {unit} {ray.util.get_node_ip_address()}\n")
