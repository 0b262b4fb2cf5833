from pathlib import Path

import pytest

from jobs.checks import this_machine
from jobs.checks.this_machine import Gpu, cpu_operators, disk, gpu_findings, memory_room, nvidia_driver, processor
from pipeline.bigbird import avx512_library

H100 = Gpu("NVIDIA H100", 80_000_000_000, (9, 0))
T4 = Gpu("Tesla T4", 16_000_000_000, (7, 5))


@pytest.mark.parametrize(
    ("flags", "features", "dtype"),
    [
        ("fpu avx512_bf16 amx_int8", "amx_int8, avx512_bf16", "bf16"),
        ("fpu avx512_vnni", "avx512_vnni", "fp32"),
        ("fpu sse2", "neither bf16 nor int8 in hardware", "fp32"),
    ],
)
def test_the_cpu_and_the_dtype_that_follows(tmp_path: Path, flags: str, features: str, dtype: str):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert processor(tmp_path / "cpuinfo").seen.endswith(f"; {features}: `auto` computes in {dtype}")


def test_operators_in_c_that_are_not_built_though_the_processor_could(monkeypatch: pytest.MonkeyPatch):
    assert cpu_operators().state in ("ok", "warning")
    monkeypatch.setattr(this_machine, "cpu_flags", lambda: avx512_library.NEEDED_FLAGS)
    monkeypatch.setattr(avx512_library, "cpu_flags", lambda: avx512_library.NEEDED_FLAGS)
    monkeypatch.setattr(avx512_library, "avx512_library", lambda: None)
    finding = cpu_operators()
    assert (finding.state, finding.advice) == ("warning", "install a C compiler (gcc 11 or newer), then Rookery again")
    assert finding.seen.startswith("attention, norms and GELU by torch, slower: the library is not built")


@pytest.mark.parametrize(
    ("devices", "asked", "driver", "states", "words"),
    [
        ([H100, H100], 2, "550.54", ["ok", "ok"], "NVIDIA H100, 80.0 GB, driver 550.54"),
        ([T4], 1, "550.54", ["warning"], "set compute.dtype to fp32"),
        ([H100], 2, "550.54", ["ok", "failure"], "1 here, and the job asks for 2"),
        ([], 0, None, ["ok"], "encoders compute on the CPU"),
        ([], 0, "470.1", ["warning"], "NVIDIA's driver 470.1 is there, and torch 2.13.0+cpu sees no GPU"),
        ([], 1, "470.1", ["failure"], "install torch's build for CUDA"),
        ([], 0.5, None, ["failure"], "none here, and the job asks for 0.5"),
    ],
)
def test_gpus(devices: list[Gpu], asked: float, driver: str | None, states: list[str], words: str):
    findings = list(gpu_findings(devices, asked, driver, "torch 2.13.0+cpu"))
    assert [finding.state for finding in findings] == states
    assert words in " ".join(finding.seen + finding.advice for finding in findings)


def test_the_driver_is_what_the_kernel_says(tmp_path: Path):
    version = tmp_path / "version"
    assert nvidia_driver(version) is None
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\nGCC version: 11.4.0\n")
    assert nvidia_driver(version) == "535.183.01"


def test_little_memory_is_a_warning():
    assert [memory_room(size).state for size in (3_999_999_999, 4_000_000_000)] == ["warning", "ok"]


def test_little_room_is_a_warning_and_no_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    later = tmp_path / "later/cache"
    assert disk("cache", later, 1, "do this").state == "ok"
    assert "which is little: runs want 1,000,000.0 TB" in disk("cache", later, 10**18, "do this").seen
    assert not later.parent.exists()
    monkeypatch.setattr(this_machine, "FULL_SHARE", 0.0)
    assert "for full" in disk("cache", later, 1, "do this").seen
