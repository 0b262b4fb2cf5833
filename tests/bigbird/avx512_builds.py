"""The operators in C, built for tests: with tiles in plain C, and with a sanitizer."""

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline.bigbird.avx512_library import NEEDED_FLAGS
from pipeline.cores import cpu_flags
from tests.conftest import ROOT

MISSING = NEEDED_FLAGS - cpu_flags()
needs_avx512 = pytest.mark.skipif(bool(MISSING), reason=f"this processor has no {', '.join(sorted(MISSING))}")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def extension() -> dict[str, Any]:
    """What pyproject.toml says of the library."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (only,) = settings["tool"]["setuptools"]["ext-modules"]
    return dict(only)


def built(folder: Path, *flags: str) -> Path:
    """Builds it as pyproject.toml says, where warnings are errors, and with `flags`; returns the library."""
    library = folder / "_avx512.so"
    sources = [str(ROOT / source) for source in extension()["sources"]]
    command = ["cc", "-shared", "-fPIC", *extension()["extra-compile-args"], "-Wall", "-Wextra", "-Werror", *flags]
    subprocess.run([*command, *sources, "-o", str(library), "-lm"], check=True)
    return library
