"""A store that is slow, refuses, breaks off, loses replies, is away, is full or takes permission back."""

import random

import pytest

from tests.faults import faults
from tests.faults.world import World, small_disk
from tests.s3 import S3Server


@pytest.fixture
def disks(world: World) -> None:
    try:
        with small_disk(world.folder / "probe", "64k"):
            pass
    except OSError as error:
        pytest.skip(f"no tmpfs can be mounted here: {error}")
    finally:
        (world.folder / "probe").rmdir()


@pytest.mark.s3
@pytest.mark.ray
def test_a_run_through_bad_weather(world: World):
    faults.weather(world, random.Random(4))


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["reset", "unavailable", "lost reply"])
def test_publishing_through_bad_weather(world: World, fault: str):
    faults.weather(world, random.Random(fault), (fault,), prefilled=True)


@pytest.mark.s3
@pytest.mark.parametrize(("fault", "after"), [("denied", 14), ("unavailable", 6), ("black hole", 10)])
def test_an_outage_ends_with_the_documented_exit_code(world: World, fault: str, after: int):
    faults.outage(world, random.Random(5), fault, after)


@pytest.mark.s3
@pytest.mark.ray
def test_access_withdrawn_while_units_are_labelled(world: World):
    assert faults.denied(world, random.Random(6)) == "exit 3"


@pytest.mark.s3
def test_the_server_is_killed_and_started_again(world: World, s3_server: S3Server):
    if s3_server.kind == "moto":
        pytest.skip("moto keeps its objects in the process that would be killed")
    faults.server_restarted(world, random.Random(7))


@pytest.mark.ray
def test_a_full_disk(world: World, disks: None):
    assert faults.disk_full(world, random.Random(8)) == "exit 75"


def test_a_disk_that_becomes_read_only(world: World, disks: None):
    assert faults.read_only(world, random.Random(9)) == "exit 75"
