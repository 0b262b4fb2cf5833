"""The wheel that `pip wheel` makes of the checkout, and an environment that has it and borrows the libraries."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.conftest import ROOT


def copied_checkout(folder: Path) -> Path:
    """Copies what a wheel is made of: a build leaves its own folders behind, and a test may change it."""
    for name in ("pipeline", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "rookery.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def built_wheel(source: Path, folder: Path, **environment: str) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True, env=os.environ | environment)
    (wheel,) = folder.glob("rookery-*.whl")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """Makes an environment with the wheel; returns its folder of packages."""
    venv.create(folder, with_pip=False, symlinks=True)
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(folder / "bin" / "python"),
        "install",
        "--quiet",
        "--no-deps",
    ]
    subprocess.run([*install, str(wheel)], check=True)
    packages = next((folder / "lib").iterdir()) / "site-packages"
    libraries = {path for path in (*sys.path, sysconfig.get_path("purelib")) if path.endswith("site-packages")}
    (packages / "zz_libraries.pth").write_text("\n".join(sorted(libraries)))
    return packages
