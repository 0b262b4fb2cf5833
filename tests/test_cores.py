import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cores import _quotas, available_cores


def test_cores_are_those_of_the_affinity() -> None:
    program = "from pipeline.cores import available_cores; print(available_cores())"
    told = subprocess.check_output(["taskset", "-c", "0", sys.executable, "-c", program], text=True)
    assert int(told) == 1


def test_there_is_always_one() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/job\n", {"job/cpu.max": "150000 100000", "cpu.max": "max 100000"}, [1.5]),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, [2.0]),
        ("0::/\n", {"cpu.max": "max 100000"}, []),
        ("0::/gone\n", {}, []),
        (
            "4:memory:/x\n1:cpu,cpuacct:/job\n0::/\n",
            {"cpu/job/cpu.cfs_quota_us": "50000", "cpu/job/cpu.cfs_period_us": "100000"},
            [0.5],
        ),
        (
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            [],
        ),
    ],
    ids=["v2", "v2 above", "v2 none", "v2 hidden", "v1", "v1 none"],
)
def test_quotas(tmp_path: Path, membership: str, files: dict[str, str], expected: list[float]) -> None:
    own, root = tmp_path / "membership", tmp_path / "cgroup"
    own.write_text(membership)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    assert list(_quotas(own, root)) == expected
