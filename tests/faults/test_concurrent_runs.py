"""Runs that share a table at the same time."""

import random

import pytest

from tests.faults import faults
from tests.faults.world import World


@pytest.mark.ray
def test_the_same_job_twice_at_once_and_another_checkpoint(local: World, own_ray: World):
    faults.at_once(local, random.Random(1))


@pytest.mark.s3
def test_four_publish_at_once(on_s3: World):
    faults.at_once(on_s3, random.Random(2), same=4, prefilled=True)
