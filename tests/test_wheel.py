"""The wheel that `pip wheel` makes of the checkout, installed where only the libraries are borrowed."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves its own folders behind
    for name in ("pipeline", "jobs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "rookery.py"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True)
    (built,) = folder.glob("rookery-*.whl")
    return built


def test_it_holds_the_program_and_nothing_else(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "rookery.py",
        "jobs/comparison.html",
        "jobs/measure/scale.py",
        "jobs/sample/job.yaml",
        "jobs/sample/checkpoint/model.safetensors",
        "jobs/sample/corpus/test.parquet",
        "jobs/sample/LICENSES/rust-rfcs-MIT.txt",
        "pipeline/evaluation/history.html",
        "pipeline/evaluation/page.html",
        "pipeline/evaluation/report.css",
        "pipeline/evaluation/report.html",
        "pipeline/py.typed",
    } <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"rookery.py", "rookery", "pipeline", "jobs"}


def test_it_works_in_a_clean_environment(wheel: Path, tmp_path: Path):
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    target = next((tmp_path / "venv" / "lib").iterdir()) / "site-packages"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    libraries = {path for path in (*sys.path, sysconfig.get_path("purelib")) if path.endswith("site-packages")}
    (target / "zz_libraries.pth").write_text("\n".join(sorted(libraries)))
    code = "import rookery, jobs.sample; assert jobs.sample.CHECKPOINT.is_dir(); print(rookery.__file__)"
    result = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(result.stdout.strip()).parent == target
    for arguments in (["version"], ["--version"], ["--help"]):
        command = [str(target.parents[2] / "bin" / "rookery"), *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "rookery" in result.stdout
