"""kill -9 at each object that publishing writes.

A run that only publishes a little writes one after the other: after one is before the next. Without a process it dies
both before and after each in tests/tables/test_publish.py.
"""

import random
import re

import pytest

from tests.faults.faults import STEPS, step
from tests.faults.world import World


@pytest.mark.parametrize("object_", STEPS)
def test_publishing_that_dies_is_finished_by_the_next_run(world: World, object_: str):
    step(world.local(), object_, "before")


@pytest.mark.s3
@pytest.mark.parametrize("object_", ["claim", "last data file", "manifest"])
def test_publishing_that_dies_is_finished_by_the_next_run_on_s3(world: World, object_: str):
    step(world.s3(), object_, random.Random(object_).choice(["before", "after"]))


def test_no_object_is_forgotten(world: World):
    """STEPS name every write of a run, in order."""
    target = world.local()
    target.prefill()
    log = world.folder / "writes"
    assert target.run(log=str(log))[0] == 0
    lines = log.read_text().splitlines()
    # nor heartbeats and progress, which are put time and again
    passing = re.compile("^(?:open|delete) |/runs/|/progress.json$")
    written = [line for line in lines if not passing.search(line)]
    patterns = list(STEPS.values())
    steps = [next(n for n, pattern in enumerate(patterns) if re.search(pattern, line)) for line in written]
    # of two groups each has a tally; there are five lists of files
    assert [step for step in steps if "=" not in patterns[step]] == [0, 0, 1, 2, *[6] * 5, 7, 8, 9, 10, 11]
    assert {*steps} == {*range(len(STEPS))}
    assert max(steps[:7]) == 5
