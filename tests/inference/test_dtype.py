import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from pipeline.errors import ConfigError
from pipeline.inference.dtype import resolve_dtype


@pytest.fixture
def cpuinfo(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "cpuinfo"
    if request.param is not None:
        path.write_text(f"processor\t: 0\nflags\t\t: fpu {request.param} sse\nbugs\t\t: none\n")
    return path


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("avx512_bf16 avx512_vnni", "bf16"),
        ("amx_bf16 amx_int8", "bf16"),
        ("avx512_vnni avx_vnni amx_int8", "fp32"),
        ("avx512f avx2", "fp32"),
        (None, "fp32"),
    ],
    ids=["avx512_bf16", "amx", "8 bits only", "neither", "no cpuinfo"],
    indirect=["cpuinfo"],
)
def test_auto_on_a_cpu_asks_its_flags(cpuinfo: Path, expected: str) -> None:
    assert resolve_dtype("auto", "cpu", cpuinfo) == expected


@pytest.mark.parametrize("cpuinfo", [None], indirect=True)
def test_auto_on_a_gpu_is_bf16(cpuinfo: Path) -> None:
    assert resolve_dtype("auto", "cuda", cpuinfo) == "bf16"


@pytest.mark.parametrize("name", ["bf16", "fp32"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_name_is_taken_as_it_is(name: str, device: Literal["cpu", "cuda"]) -> None:
    assert resolve_dtype(name, device) == name


def test_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="dtype is 'fp16'; expected one of auto, bf16, fp32, int8"):
        resolve_dtype("fp16", "cpu")


@pytest.mark.parametrize("cpuinfo", ["avx512_vnni", "avx_vnni", "amx_int8"], indirect=True)
def test_int8_is_taken_on_a_cpu_that_has_it(cpuinfo: Path) -> None:
    assert resolve_dtype("int8", "cpu", cpuinfo) == "int8"


@pytest.mark.parametrize("cpuinfo", ["avx512f avx2", "avx512_vnni_", None], indirect=True)
def test_int8_is_refused_on_a_cpu_that_has_it_not(cpuinfo: Path) -> None:
    flags = r"\['amx_int8', 'avx512_vnni', 'avx_vnni'\]"
    with pytest.raises(ConfigError, match=f"this CPU has none of {flags}; use auto"):
        resolve_dtype("int8", "cpu", cpuinfo)


@pytest.mark.parametrize("cpuinfo", ["avx512_vnni"], indirect=True)
def test_int8_is_refused_with_gpus(cpuinfo: Path) -> None:
    with pytest.raises(ConfigError, match="dtype is 'int8', which is for CPUs; with GPUs use auto"):
        resolve_dtype("int8", "cuda", cpuinfo)


def test_it_is_resolved_without_torch() -> None:
    script = "import sys, pipeline.inference.dtype; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
