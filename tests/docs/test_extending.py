"""What the pages add as toys is added to a copy of the code, as it stands there, and its tests run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

TOYS = [
    ("extending.md", "A toy: mail folders"),
    ("extending.md", "A toy: the last token, through a gate"),
    ("encoder.md", "Adding one"),
]
FILE = re.compile(r"```python\n# ([\w/]+\.py)\n(.*?)```", re.DOTALL)
DIFF = re.compile(r"```diff\n(--- a/.*?)```", re.DOTALL)
NEEDED = ("tests/__init__.py", "tests/processes.py", "tests/bigbird/configs.py", "tests/corpus/files.py")


def section(page: str, heading: str) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.split(r"^##", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_toy_works(tmp_path: Path):
    """One process for all of them: they start torch."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for name in NEEDED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    tests = []
    for page, heading in TOYS:
        files, diffs = FILE.findall(section(page, heading)), DIFF.findall(section(page, heading))
        for name, code in files:
            assert not (tmp_path / name).exists(), "a toy is new"
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(code, encoding="utf-8")
        for diff in diffs:
            subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=tmp_path, check=True)
        tests += [name for name, _ in files if name.startswith("tests/")]
    assert len(tests) == len(TOYS)
    options = ["-q", "-c", os.devnull, "--rootdir", str(tmp_path), "--import-mode=importlib", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        text=True,
        capture_output=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "12 passed" in finished.stdout
