"""The process apart: what comes back from it, and that its end is told from everything else."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import CorpusError, RetryableError
from pipeline.isolation import Apart, ProcessEnded


def nothing() -> Iterator[None]:
    yield


def end() -> Iterator[None]:
    os._exit(7)
    yield


def count(to: int, ends_at: int | None = None) -> Iterator[int]:
    for number in range(to):
        if number == ends_at:
            os.kill(os.getpid(), signal.SIGKILL)
        yield number


def process() -> Iterator[int]:
    yield os.getpid()


def raise_(error: Exception) -> Iterator[None]:
    raise error
    yield


class Odd(Exception):
    """Takes other arguments than it keeps, as some libraries' do: it can't be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_odd() -> Iterator[None]:
    raise Odd(1, 2)
    yield


@pytest.fixture
def apart() -> Iterator[Apart]:
    apart = Apart(nothing)
    yield apart
    apart.close()


def test_items_come_back_from_another_process(apart: Apart) -> None:
    (child,) = apart.run(process)
    assert child != os.getpid()
    assert list(apart.run(count, 1000)) == list(range(1000))
    assert list(apart.run(process)) == [child]


def test_its_end_comes_after_what_it_gave(apart: Apart) -> None:
    items = apart.run(count, 9, 3)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ProcessEnded):
        next(items)
    assert list(apart.run(count, 2)) == [0, 1]


def test_what_nobody_took_is_not_the_next_calls(apart: Apart) -> None:
    items = apart.run(count, 100)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert list(apart.run(count, 2)) == [0, 1]


def test_errors_are_raised_as_they_were(apart: Apart) -> None:
    (child,) = apart.run(process)
    for error in (CorpusError("no such column"), ConnectionError("of the store")):
        with pytest.raises(type(error), match=str(error)):
            list(apart.run(raise_, error))
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        list(apart.run(raise_odd))
    assert list(apart.run(process)) == [child]


def test_a_process_that_cannot_begin_is_no_calls_fault() -> None:
    with pytest.raises(RetryableError, match=r"before it had begun anything \(status 7\)"):
        Apart(end).run(nothing)


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pipeline.isolation import Apart\nfrom tests.test_isolation import nothing, process\n"
        "(child,) = Apart(nothing).run(process)\nprint(child, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    parent = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    child = Path("/proc") / parent.stdout.strip()
    for _ in range(200):
        if not child.exists():
            break
        time.sleep(0.05)
    assert parent.returncode == -signal.SIGKILL
    assert not child.exists()
