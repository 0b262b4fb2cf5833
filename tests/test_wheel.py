"""The wheel, installed where only the libraries are borrowed."""

import subprocess
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.bigbird.avx512_builds import needs_compiler
from tests.wheels import built_wheel, copied_checkout, installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    return built_wheel(copied_checkout(folder / "source"), folder)


def test_it_holds_the_program_and_nothing_else(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "rookery.py",
        "jobs/comparison.html",
        "jobs/run_report.html",
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


def libraries(wheel: Path) -> list[str]:
    return [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]


@needs_compiler
def test_it_holds_the_operators_in_c_where_there_is_a_compiler(wheel: Path):
    (library,) = libraries(wheel)
    assert fnmatch(library, "pipeline/bigbird/_avx512*.so")  # as avx512_library looks for it


def test_without_a_compiler_it_is_built_too(tmp_path: Path):
    (tmp_path / "source").mkdir()
    wheel = built_wheel(copied_checkout(tmp_path / "source"), tmp_path, CC="false")
    assert not libraries(wheel)
    assert "pipeline/bigbird/avx512_library.py" in zipfile.ZipFile(wheel).namelist()


def test_it_works_in_a_clean_environment(wheel: Path, tmp_path: Path):
    packages = installed(wheel, tmp_path / "venv")
    programs = packages.parents[2] / "bin"
    code = "import rookery, jobs.sample; assert jobs.sample.CHECKPOINT.is_dir(); print(rookery.__file__)"
    result = subprocess.run([programs / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(result.stdout.strip()).parent == packages
    for arguments in (["version"], ["--version"], ["--help"]):
        command = [str(programs / "rookery"), *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "rookery" in result.stdout
