"""The library in C: within its memory, and what is said where it can't be used."""

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from pipeline.bigbird import avx512_library
from pipeline.bigbird.avx512_library import TILE_FLAGS, opened, spread, why_no_avx512, why_no_tiles
from tests.bigbird.avx512_builds import built, extension, needs_avx512, needs_compiler
from tests.conftest import ROOT


@needs_avx512
@needs_compiler
def test_a_sanitizer_finds_nothing(tmp_path: Path) -> None:
    """Address and undefined behaviour, with tiles in plain C, on memory that ends where it may read no further."""
    preload = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    if not os.path.isabs(preload.stdout.strip()):  # noqa: PTH117
        pytest.skip("this compiler has no sanitizer")
    flags = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DROOKERY_PLAIN_TILES"]
    library = built(tmp_path, *flags, "-Wno-unused-function")
    result = subprocess.run(
        [sys.executable, "-m", "tests.bigbird.guarded_operators", str(library)],
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": preload.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "all within bounds\n", result.stderr


@needs_compiler
def test_loading_it_runs_nothing_of_it(tmp_path: Path) -> None:
    """A wheel from a machine with AVX-512 is loaded on one without: nothing but functions that somebody calls."""
    library = built(tmp_path)
    sections = subprocess.run(["readelf", "--wide", "--dyn-syms", library], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in sections.stdout.splitlines() if " FUNC " in line and " UND " not in line}
    assert {name for name in names if name.startswith("rookery_")} == names - {"_init", "_fini"}
    opened(library)


def test_the_sources_in_pyproject_are_those_that_are_there() -> None:
    folder = ROOT / "pipeline" / "bigbird"
    assert sorted(extension()["sources"]) == sorted(f"pipeline/bigbird/{path.name}" for path in folder.glob("*.c"))
    assert sorted(extension()["depends"]) == sorted(f"pipeline/bigbird/{path.name}" for path in folder.glob("*.h"))


def test_a_processor_without_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avx512_library, "cpu_flags", lambda: frozenset({"avx512f", "avx512bw", "avx512vl"}))
    assert why_no_avx512() == "the processor has no avx512_bf16"


def test_a_library_that_is_not_built_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avx512_library, "cpu_flags", lambda: avx512_library.NEEDED_FLAGS)
    monkeypatch.setattr(avx512_library, "avx512_library", lambda: None)
    assert why_no_avx512() == "the library is not built (no C compiler when Rookery was installed?)"


def test_tiles_that_linux_or_a_user_does_not_give_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def syscall(self, *arguments: ctypes.c_long) -> int:
            assert [each.value for each in arguments] == [158, 0x1023, 18]
            return -1

    monkeypatch.setattr(avx512_library, "cpu_flags", lambda: TILE_FLAGS)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Refusing())
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert why_no_tiles.__wrapped__() == "Linux does not let this process use them"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert why_no_tiles.__wrapped__() == "ONEDNN_MAX_CPU_ISA is AVX512_CORE_BF16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    assert why_no_tiles.__wrapped__() == "Linux does not let this process use them"


@pytest.mark.parametrize(
    ("threads", "tasks", "least", "parts"), [(1, 10, 1, 1), (3, 10, 1, 3), (3, 10, 4, 2), (3, 2, 4, 1)]
)
def test_tasks_are_spread_over_as_many_threads_as_torch_takes(threads: int, tasks: int, least: int, parts: int) -> None:
    ranges: list[tuple[int, int]] = []
    names = set()

    def work(low: int, high: int) -> None:
        ranges.append((low, high))
        names.add(threading.current_thread())

    torch.set_num_threads(threads)
    try:
        spread(tasks, least, work)
    finally:
        torch.set_num_threads(1)
    assert [task for low, high in sorted(ranges) for task in range(low, high)] == list(range(tasks))
    assert len(ranges) == parts
    assert (names == {threading.current_thread()}) == (parts == 1)  # a predictor's thread works itself
