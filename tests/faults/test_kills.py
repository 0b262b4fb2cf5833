"""kill -9 of the driver, of everything, of workers in the middle of a run."""

import random

import pytest

from tests.faults import faults
from tests.faults.world import World

pytestmark = pytest.mark.ray


def test_killed_and_run_again_is_as_if_nothing_had_been(local: World, own_ray: World):
    assert faults.driver_killed(local, random.Random(3)) != "killed 0×"


def test_a_run_survives_its_workers(local: World, own_ray: World):
    # a quick run may end before all four are found, and Ray may give up: the table is judged in any case
    assert int(faults.workers_killed(local, random.Random(1)).split()[0]) >= 2
