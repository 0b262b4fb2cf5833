"""`deploy/gpu.sh` where there is no GPU: every step runs, the kernels interpreted, and nothing measured is lost."""

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from jobs.measure.gpu.__main__ import main
from jobs.measure.gpu.gpu_idle import idle_between
from jobs.measure.gpu.issue_bars import BARS, judged
from jobs.measure.gpu.result_page import ResultPage
from jobs.measure.gpu.scope import GPU_TESTS, INTERPRETED
from jobs.measure.gpu.share_of_floor import peak_of
from jobs.measure.gpu.step_process import run_step
from jobs.measure.gpu.steps import STEPS
from pipeline.errors import ConfigError
from tests.bigbird.triton_process import needs_triton

ROOT = Path(__file__).parents[3]

# Every step but the tests, in one process that cannot import what a bare GPU machine does not have. What is repeated
# for the sake of a figure is repeated less.
PROGRAM = """
import sys
for name in ("ray", "pydantic", "typer", "rich", "s3fs", "duckdb", "hypothesis", "jinja2"):
    sys.modules[name] = None

def main():
    import json, torch
    from jobs.measure.benchmark import machine, timing
    from jobs.measure.gpu.scope import INTERPRETED
    from jobs.measure.gpu.steps import STEPS
    torch.set_num_threads(1)
    timing.MICRO_SECONDS, machine.COPIED_BYTES = 0.001, 2**20
    steps = {name: {"rows": list(step.measure(INTERPRETED))} for name, step in STEPS.items() if name != "kernels"}
    print(json.dumps(steps))

if __name__ == "__main__":  # a feeding process begins here too
    main()
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    program = tmp_path_factory.mktemp("gpu") / "program.py"
    program.write_text(PROGRAM)
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout))


@needs_triton
def test_every_step_has_figures(steps: dict[str, Any]) -> None:
    assert steps.keys() == STEPS.keys() - {"kernels"}
    for name, step in steps.items():
        assert step["rows"], name
        for row, figures in step["rows"]:
            assert figures, (name, row)
            assert all(math.isfinite(figure) for figure in figures.values()), (name, row, figures)


@needs_triton
def test_logits_are_those_of_transformers(steps: dict[str, Any]) -> None:
    rows = dict(steps["parity"]["rows"])
    assert rows["the worst"]["rookery fp32 off by"] < 1e-5
    assert rows["padded batches"]["rookery fp32 off by"] < 1e-5
    assert dict(steps["memory"]["rows"]).popitem()[1]["limit found, tokens"] < INTERPRETED.pack


@needs_triton
def test_each_bar_has_its_figure(steps: dict[str, Any]) -> None:
    """In the rows of the lengths that are interpreted; of a device that is in no data sheet no MFU."""
    assert peak_of("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_of("NVIDIA H100 PCIe") == 756e12
    assert peak_of("AMD EPYC") is None
    for bar in BARS:
        rows = dict(steps[bar.step]["rows"])
        figures = rows[re.sub(r"4,096|512", f"{INTERPRETED.longest}", bar.row)]
        assert ("tokens/s" if bar.figure == "MFU" else bar.figure) in figures, bar


@needs_triton
def test_the_command_runs_a_step_and_says_what_became_of_it(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OUT"}
    command = ["bash", str(ROOT / "deploy/gpu.sh")]
    run = subprocess.run(
        [*command, str(tmp_path / "out"), "kernels"],
        env=environment | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    log = (tmp_path / "out/log.txt").read_text()
    assert run.returncode == 0, run.stderr + log
    assert "kernels: passed" in run.stderr
    step = json.loads((tmp_path / "out/gpu.json").read_text())["steps"]["kernels"]
    assert step["state"] == "passed"
    assert step["rows"] == [["tests.bigbird.test_norm_triton", {"passed": 2, "failed": 0, "skipped": 0}]]
    assert (tmp_path / "out" / "gpu.md").read_text() == run.stdout
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 2


def test_steps_and_packages_are_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no step floors; expected of kernels, parity, speed, floor"):
        main([str(tmp_path / "out"), "floors"])
    monkeypatch.setattr("jobs.measure.gpu.__main__.NEEDED", ("torch", "no_such_package"))
    with pytest.raises(ConfigError, match="not installed: no_such_package"):
        main([str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("program", "limit_s", "state"),
    [
        ("print('[1]', flush=True)", 60, "passed"),
        ("print('[1]', flush=True); print('x', file=sys.stderr); sys.exit(3)", 60, "failed, exit code 3: see log.txt"),
        ("print('[1]', flush=True); subprocess.run(['sleep', '60'])", 2, "cut off after 2 s"),
    ],
)
def test_rows_stay_whatever_becomes_of_a_step(tmp_path: Path, program: str, limit_s: float, state: str) -> None:
    rows: list[Any] = []
    command = [sys.executable, "-c", f"import subprocess, sys; {program}"]
    started = time.monotonic()
    assert run_step(command, limit_s, tmp_path / "log.txt", os.environ, rows.append) == state
    assert time.monotonic() - started < 50  # what the step had started is ended too
    assert rows == [[1]]
    assert (tmp_path / "log.txt").read_text() == ("x\n" if "failed" in state else "")


def test_a_folder_is_filled_by_several_calls_and_lost_by_none(tmp_path: Path) -> None:
    page = ResultPage(tmp_path, {"device": "a GPU"}, ["speed", "parity"])
    page.begin("speed")
    page.add("speed", ["4,096 tokens", {"tokens/s": 2.2e6, "x transformers": 11.5}])
    assert json.loads((tmp_path / "gpu.json").read_text())["steps"]["speed"]["state"] == "cut off"
    page.end("speed", "passed", 12.34)

    again = ResultPage(tmp_path, {"device": "a GPU"}, ["speed", "parity", "floor"])
    assert again.passed("speed")
    assert not again.passed("parity")
    again.begin("parity")
    markdown = (tmp_path / "gpu.md").read_text()
    for line in (
        "By `bash deploy/gpu.sh` on device a GPU.",
        "| tokens/s at 4,096 tokens | ≥ 2,100,000 | 2,200,000 | yes |",
        "| times transformers at 4,096 tokens | ≥ 12 | 11.5 | no |",
        "| GPU idle while it is fed | ≤ 0.03 | not measured |  |",
        "| speed | passed | 12 s |",
        "| parity | cut off |  |",
        "| 4,096 tokens | 2,200,000 | 11.5 |",
    ):
        assert line in markdown.splitlines()


def test_a_bar_is_on_its_own_side() -> None:
    rows = [["fed", {"GPU idle": 0.02}]]
    held = {bar.step: bar.holds(value) for bar, value in judged({"feeding": {"rows": rows}}) if value is not None}
    assert held == {"feeding": True}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), min_size=1))
def test_idle_is_what_no_span_covers(spans: list[tuple[int, int]]) -> None:
    ends = [(start, start + length) for start, length in spans]
    covered = {tick for start, stop in ends for tick in range(start, stop)}
    wall = max(stop for _, stop in ends) - min(start for start, _ in ends)
    assert idle_between(ends) == pytest.approx(1 - len(covered) / wall)


def test_every_test_that_needs_a_gpu_is_run_on_one() -> None:
    marked = {
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"mark\.gpu|triton_process import .*PLACES", path.read_text())
    }
    assert {str(path.relative_to(ROOT)) for path in marked - {Path(__file__)}} == set(GPU_TESTS)
