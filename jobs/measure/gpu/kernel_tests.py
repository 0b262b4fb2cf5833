"""The tests that need a GPU: the kernels against the reference, the products, the copies."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.scope import Scope

ROOT = Path(__file__).parents[3]
# Without pyproject.toml and conftest.py: what they load is not on a bare machine.
PYTEST = ("-m", "pytest", "-c", os.devnull, "--rootdir", ".", "--noconftest", "-p", "no:cacheprovider", "-q", "-rfE")
OPTIONS = ("--import-mode=importlib", "--disable-warnings")


def run_kernel_tests(scope: Scope) -> Iterator[ResultRow]:
    """Yields for each file how many of its tests passed, failed and were skipped.

    Raises RuntimeError if one failed, or none ran.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, *PYTEST, *OPTIONS, f"--junitxml={report}", *scope.tests]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
        counts = _counts(report)
    for name, outcomes in counts.items():
        yield name, {outcome: outcomes[outcome] for outcome in ("passed", "failed", "skipped")}
    total = sum(counts.values(), Counter[str]())
    if total["failed"] or not total["passed"]:
        raise RuntimeError(f"{total['failed']} tests failed, {total['passed']} passed")


def _counts(report: Path) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        tags = {child.tag for child in case}
        outcome = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        counts.setdefault(case.get("classname", ""), Counter())[outcome] += 1
    return counts
