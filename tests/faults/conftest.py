"""One corpus, one undisturbed run, and tables of their own for each fault."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.world import World, write_corpus
from tests.s3 import S3Server


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> World:
    folder = tmp_path_factory.mktemp("faults")

    def server() -> S3Server:
        found: S3Server = request.getfixturevalue("s3_server")
        return found

    return World(folder, server, write_corpus(folder / "corpus"))


@pytest.fixture
def world(shared_world: World, ray_address: str) -> Iterator[World]:
    """Runs share a Ray, which takes longer to start than they do; whatever a test started has ended when it has."""
    shared_world.ray_address = ray_address
    yield shared_world
    for run in shared_world.runs:
        run.clean_up()
    shared_world.runs.clear()


@pytest.fixture
def own_ray(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Each run starts a Ray of its own, and ends it."""
    monkeypatch.setattr(world, "ray_address", "")
    return world


@pytest.fixture
def local(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(world, "stores", ("local",))
    return world


@pytest.fixture
def on_s3(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(world, "stores", ("s3",))
    return world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several runs in each test, each with a guard of its own against hanging: 10 s here, minutes on a busy machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(1200))
