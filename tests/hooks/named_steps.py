"""What happens to a process at a named step of its work with storage.

FAULTS is a JSON list of {"when": before|after, "call": put_if_absent|put|copy|delete|open, "object": a pattern of its
URI, "count": n, "do": kill|wait, "marker": a path, "in": a pattern of the process's command}. At the n-th such call of
a process, and in one process only (the marker's file is made by one), the process kills itself or waits for the file
`<marker>.go`. FAULTS_LOG: where calls are written down, and that an isolated process is started. FAULTS_PATIENCE:
seconds after which a silent S3 request is given up, because the product's minutes are long in a test.
"""

import contextlib
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.hooks.imports import after_import

FAULTS = json.loads(os.environ.get("FAULTS", "[]"))
LOG = os.environ.get("FAULTS_LOG")
PATIENCE = os.environ.get("FAULTS_PATIENCE")


def install():
    if FAULTS or LOG:
        after_import("pipeline.storage.objects", hook)
        after_import("pipeline.isolation", hook_isolation)
    if PATIENCE:
        after_import("pipeline.storage.s3", shorten)


def reached(when, call, uri):
    if when == "before":
        write_down(f"{call} {uri}")
    for number, fault in enumerate(FAULTS):
        if (fault["when"], fault["call"]) != (when, call) or not re.search(fault["object"], uri):
            continue
        if not re.search(fault.get("in", ""), " ".join(sys.orig_argv)):
            continue
        seen[number] += 1
        if seen[number] < fault.get("count", 1):
            continue
        with contextlib.suppress(FileExistsError):
            os.close(os.open(fault["marker"], os.O_CREAT | os.O_EXCL))
            if fault["do"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            while not Path(fault["marker"] + ".go").exists():
                time.sleep(0.02)


def write_down(line):
    if LOG:
        with Path(LOG).open("a") as log:
            log.write(f"{line}\n")


seen: Counter[int] = Counter()


def hooked(call, function):
    def wrapper(self, first, *rest, **named):
        uri = rest[0] if call == "copy" else first
        reached("before", call, uri)
        result = function(self, first, *rest, **named)
        reached("after", call, uri)
        return result

    return wrapper


def hooked_open(function):
    @contextlib.contextmanager
    def wrapper(self, planned):
        reached("before", "open", planned.uri)
        with function(self, planned) as file:
            reached("after", "open", planned.uri)
            yield file

    return wrapper


def hook(storage):
    for call in ("put_if_absent", "put", "copy", "delete"):
        setattr(storage.Storage, call, hooked(call, getattr(storage.Storage, call)))
    storage.Storage.open = hooked_open(storage.Storage.open)


def hook_isolation(isolation):
    start = isolation.IsolatedProcess._start

    def started(self):
        write_down("isolated")
        start(self)

    isolation.IsolatedProcess._start = started


def shorten(s3):
    s3.PATIENCE_SECONDS = s3.CONFIG["read_timeout"] = float(PATIENCE or 0)
