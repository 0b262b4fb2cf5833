"""deploy/cron/nightly.sh with a command that ends as it is told to."""

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jobs.cli import app
from tests.conftest import ROOT

SCRIPT = ROOT / "deploy" / "cron" / "nightly.sh"


def night(folder: Path, *codes: int) -> subprocess.CompletedProcess[str]:
    """A night whose attempts end with these codes, and one more with 99."""
    (folder / "codes").write_text("\n".join(map(str, [*codes, 99])) + "\n")
    stub = f"cd {shlex.quote(str(folder))}; echo said; code=$(head -1 codes); sed -i 1d codes; exit $code"
    return subprocess.run(
        ["bash", str(SCRIPT), str(folder / "log"), "sh", "-c", stub],
        env=os.environ | {"PAUSE_SECONDS": "0"},
        text=True,
        capture_output=True,
        check=False,
    )


def attempts(folder: Path) -> list[int]:
    return [int(code) for code in re.findall(r" exit code (\d+)$", (folder / "log").read_text(), re.M)]


@pytest.mark.parametrize("codes", [(0,), (7,), (75, 0), (75, 75, 7)])
def test_nobody_is_mailed_when_all_is_well(tmp_path: Path, codes: tuple[int, ...]) -> None:
    run = night(tmp_path, *codes)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert attempts(tmp_path) == list(codes)
    assert ("budget is spent" in (tmp_path / "log").read_text()) == (codes[-1] == 7)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 130, 137, 143])
def test_what_somebody_has_to_see_is_mailed_once(tmp_path: Path, code: int) -> None:
    run = night(tmp_path, code)
    assert run.returncode == code
    assert attempts(tmp_path) == [code]
    first, said, *_ = run.stdout.splitlines()
    assert said == "said"
    assert ("gate" in first) == (code == 6)
    assert code == 6 or f"exit code {code};" in first


def test_it_is_not_tried_for_ever(tmp_path: Path) -> None:
    run = night(tmp_path, 75, 75, 75)
    assert run.returncode == 75
    assert attempts(tmp_path) == [75, 75, 75]
    assert run.stdout.startswith("Given up after 3 attempts")
    assert run.stdout.count("said") == 1  # the last attempt's


def test_two_nights_never_overlap_even_if_the_script_is_killed(tmp_path: Path) -> None:
    command = ["bash", str(SCRIPT), str(tmp_path / "log"), "sh", "-c", "echo $$ >pid; exec sleep 60"]
    with subprocess.Popen(command, cwd=tmp_path) as first:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            time.sleep(0.01)
        first.kill()
    second = night(tmp_path, 0)
    assert second.returncode == 75
    assert second.stdout.startswith("not started")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    while night(tmp_path, 0).returncode:  # the lock goes with the process
        time.sleep(0.01)


def test_the_crontab_calls_it_with_a_command_that_is_one() -> None:
    lines = (SCRIPT.parent / "crontab").read_text().splitlines()
    (line,) = (line for line in lines if not line.startswith("#") and "=" not in line.split()[0])
    *times, script, _, program, subcommand, option, _ = line.split()
    assert len(times) == 5
    assert script.endswith(str(SCRIPT.relative_to(ROOT)))
    assert (program, option) == ("rookery", "--config")
    assert subcommand in {command.name for command in app.registered_commands}
