"""The isolated process: what comes back from it, its end is told from everything else, and what ends it is found."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pipeline.errors import CorpusError, RetryableError
from pipeline.isolation import DEATHS, IsolatedProcess, ProcessDied, attempt, search_by_halving


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
def isolated() -> Iterator[IsolatedProcess]:
    isolated = IsolatedProcess(nothing)
    yield isolated
    isolated.close()


def test_items_come_back_from_another_process(isolated: IsolatedProcess) -> None:
    (child,) = isolated.run(process)
    assert child != os.getpid()
    assert list(isolated.run(count, 1000)) == list(range(1000))
    assert list(isolated.run(process)) == [child]


def test_its_end_comes_after_what_it_gave(isolated: IsolatedProcess) -> None:
    items = isolated.run(count, 9, 3)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ProcessDied):
        next(items)
    assert list(isolated.run(count, 2)) == [0, 1]


def test_what_nobody_took_is_not_the_next_calls(isolated: IsolatedProcess) -> None:
    items = isolated.run(count, 100)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert list(isolated.run(count, 2)) == [0, 1]


def test_errors_are_raised_as_they_were(isolated: IsolatedProcess) -> None:
    (child,) = isolated.run(process)
    for error in (CorpusError("no such column"), ConnectionError("of the store")):
        with pytest.raises(type(error), match=str(error)):
            list(isolated.run(raise_, error))
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        list(isolated.run(raise_odd))
    assert list(isolated.run(process)) == [child]


def test_a_process_that_cannot_begin_is_no_calls_fault() -> None:
    with pytest.raises(RetryableError, match=r"before it had begun anything \(status 7\)"):
        IsolatedProcess(end).run(nothing)


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pipeline.isolation import IsolatedProcess\n"
        "from tests.test_isolation import nothing, process\n"
        "(child,) = IsolatedProcess(nothing).run(process)\nprint(child, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
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


class Mortal:
    """Doubles numbers in a pretended process, which dies of some numbers and at some attempts."""

    def __init__(self, deadly: set[int], outages: set[int]) -> None:
        self.deadly, self.outages = deadly, outages
        self.attempts: list[range] = []
        self.deaths: list[range] = []

    def double(self, part: range) -> list[int | None]:
        self.attempts.append(part)
        if self.deadly.intersection(part) or len(self.attempts) in self.outages:
            self.deaths.append(part)
            raise ProcessDied
        return [2 * number for number in part]

    def search(self, numbers: range) -> Iterator[list[int | None]]:
        try:
            yield attempt(self.double, numbers)
        except ProcessDied:
            yield from search_by_halving(numbers, self.double, halve, give_up)


def give_up(part: range) -> list[int | None]:
    return [None for _ in part]


def halve(part: range) -> list[range]:
    half = len(part) // 2
    return [part[:half], part[half:]] if half else []


numbers = st.integers(1, 70).map(range)


@given(numbers, st.sets(st.integers(0, 69), max_size=9))
def test_every_deadly_number_is_found_and_every_other_one_computed_once(numbers: range, deadly: set[int]) -> None:
    mortal = Mortal(deadly, outages=set())
    found = [item for result in mortal.search(numbers) for item in result]
    assert found == [None if number in deadly else 2 * number for number in numbers]
    n_deadly, levels = len(deadly.intersection(numbers)), len(numbers).bit_length()
    assert len(mortal.deaths) <= DEATHS + n_deadly * (levels + 1)
    assert len(mortal.attempts) <= DEATHS + n_deadly * (2 * levels + 1)


@given(numbers, st.sets(st.integers(0, 69), max_size=3), st.integers(1, 40))
def test_a_process_that_is_ended_from_outside_is_no_numbers_fault(
    numbers: range, deadly: set[int], outage: int
) -> None:
    mortal = Mortal(deadly, {outage})
    found = [item for result in mortal.search(numbers) for item in result]
    assert found == [None if number in deadly else 2 * number for number in numbers]


@given(numbers, st.sets(st.integers(0, 69), max_size=3), st.sets(st.integers(1, 40)))
def test_what_is_given_up_ended_the_process_twice_alone(numbers: range, deadly: set[int], outages: set[int]) -> None:
    mortal = Mortal(deadly, outages)
    found = [item for result in mortal.search(numbers) for item in result]
    for number, item in zip(numbers, found, strict=True):
        assert item in {None, 2 * number}
        assert item is not None or mortal.deaths.count(range(number, number + 1)) >= DEATHS


@given(numbers, st.integers(0, 69))
def test_nothing_behind_the_first_deadly_number_is_computed_unless_it_is_asked_for(numbers: range, deadly: int) -> None:
    mortal = Mortal({deadly}, outages=set())
    for result in mortal.search(numbers):
        if None in result:
            break
    assert all(part.start <= deadly or deadly not in numbers for part in mortal.attempts)
