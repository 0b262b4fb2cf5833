import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cores import _memory_limits, _quotas, available_cores, available_memory


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
    write_groups(tmp_path, membership, files)
    assert list(_quotas(tmp_path / "membership", tmp_path / "cgroup")) == expected


def write_groups(folder: Path, membership: str, files: dict[str, str]) -> None:
    (folder / "membership").write_text(membership)
    for name, text in files.items():
        (folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup" / name).write_text(text + "\n")


def test_memory_is_what_the_machine_has_at_most() -> None:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert 0 < available_memory() <= int(lines["MemTotal"].removesuffix("kB")) * 1024


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "2000000000"}, [2e9]),
        ("0::/\n", {}, []),
        ("4:cpu:/x\n1:memory:/job\n0::/\n", {"memory/job/memory.limit_in_bytes": "1000000"}, [1e6]),
    ],
    ids=["v2", "v2 none", "v1"],
)
def test_memory_limits(tmp_path: Path, membership: str, files: dict[str, str], expected: list[float]) -> None:
    write_groups(tmp_path, membership, files)
    assert list(_memory_limits(tmp_path / "membership", tmp_path / "cgroup")) == expected
