"""Whatever ends a writer, the final name holds all of the old or all of the new."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.atomic import written_beside

KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.atomic import written_beside
with written_beside(Path(sys.argv[1])) as partial:
    if sys.argv[2] == "folder":
        partial.mkdir()
        partial /= "weights"
    with partial.open("wb") as file:
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def write(partial: Path, kind: str, content: str) -> None:
    if kind == "folder":
        partial.mkdir()
        partial /= "weights"
    partial.write_text(content)


def holds(path: Path) -> str:
    return (path / "weights" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_writer_that_is_killed_leaves_nothing_under_the_final_name(tmp_path: Path, kind: str):
    path = tmp_path / "written"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), kind], check=False)
    assert killed.returncode == -9
    assert [left.name for left in tmp_path.iterdir()] == ["written.partial"]
    with written_beside(path) as partial:  # which takes away what the other one left
        write(partial, kind, "whole")
    assert [left.name for left in tmp_path.iterdir()] == ["written"]
    assert holds(path) == "whole"


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path: Path):
    path = tmp_path / "state"
    path.write_text("old")
    with written_beside(path) as partial:
        write(partial, "file", "new")
        assert holds(path) == "old"
    assert holds(path) == "new"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_block_that_raises_leaves_nothing(tmp_path: Path, kind: str):
    def fail() -> None:
        with written_beside(tmp_path / "written") as partial:
            write(partial, kind, "half")
            raise KeyError("half way")

    with pytest.raises(KeyError):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_link_does_not_replace(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("first")
    with pytest.raises(FileExistsError), written_beside(path, place=os.link) as partial:
        write(partial, "file", "second")
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [("a", "first")]


def test_everything_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    before: list[Path] = []

    def place(partial: Path, path: Path) -> None:
        before.extend(synced)
        partial.rename(path)

    with written_beside(tmp_path / "written", place=place) as partial:
        write(partial, "folder", "whole")
    assert before == [tmp_path / "written.partial" / "weights", tmp_path / "written.partial"]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_modes_follow_the_umask(tmp_path: Path, mask: int):
    code = (
        "import os, sys; from pathlib import Path; from pipeline.storage.objects import Storage\n"
        "from pipeline.atomic import written_beside\n"
        f"os.umask({mask}); Storage().put_if_absent(sys.argv[1], b'x'); Storage().put(sys.argv[2], b'x')\n"
        "with written_beside(Path(sys.argv[3])) as partial: partial.write_text('x')"
    )
    paths = [tmp_path / name for name in ("created", "put", "written")]
    subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=True)
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o666 & ~mask] * 3
