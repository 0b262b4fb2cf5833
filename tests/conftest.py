"""Fixtures that more than one package of tests needs."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pipeline.cluster.connection import prepare_own_ray, ray_cluster
from pipeline.config.label import parse_job
from pipeline.storage.s3 import S3
from tests.s3 import S3Server, start_s3_server, summary_line

# by default an example that takes longer than 200 ms fails, as any may on a busy machine
settings.register_profile("rookery", deadline=None)
settings.load_profile("rookery")
prepare_own_ray()  # before any test module imports ray
_server: S3Server | None = None
_shared_ray = contextlib.ExitStack()
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server on loopback, started when the first test asks for it."""
    global _server
    _server = start_s3_server(tmp_path_factory.mktemp("s3-server"))
    yield _server
    _server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with its credentials in this test's environment.

    fsspec keeps clients by their options, and the product's may be one of a test that had other credentials, or none.
    """
    S3.clear_instance_cache()
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def ray() -> Iterator[None]:
    """Ray in this process, as the job itself starts it: loopback, no dashboard. Shared, because it takes seconds.

    It ends before the first test that no test on it follows: idle it takes 4 % of a core.
    """
    required = ["corpus.uris=x", "checkpoint.uri=x", "table.uri=x"]
    _shared_ray.enter_context(ray_cluster(parse_job("", required)))
    yield
    _shared_ray.close()


@pytest.fixture(scope="session")
def ray_address(ray: None) -> str:
    """Where commands in processes of their own find it: one of their own takes most of them longer than their work."""
    from ray import get_runtime_context

    address: str = get_runtime_context().gcs_address
    return address


@pytest.fixture
def killing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Makes documents deadly to the processes that are started from now on: see tests/hooks.

    Gives the list of deaths.
    """

    def make_deadly(setting: str, value: str) -> Path:
        monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests/hooks'}{os.pathsep}{ROOT}")
        monkeypatch.setenv(f"ROOKERY_TEST_KILLER_{setting}", value)
        monkeypatch.setenv("ROOKERY_TEST_DEATHS", str(tmp_path / "deaths"))
        return tmp_path / "deaths"

    return make_deadly


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files on the shared Ray, which ends then, and with those that take longest.

    In another order one of pytest-xdist's processes ends minutes after the others.
    """
    on_shared_ray = {item.path for item in items if _on_shared_ray(item)}
    longest = {item.path for item in items if item.get_closest_marker("ray")}
    folders = [ROOT / "tests" / folder for folder in ("faults", "jobs", "cluster")]

    def rank(item: pytest.Item) -> int:
        if item.path in on_shared_ray:
            return 0
        return 1 if item.path in longest or any(map(item.path.is_relative_to, folders)) else 2

    items.sort(key=rank)


def _on_shared_ray(item: pytest.Item) -> bool:
    return "ray" in getattr(item, "fixturenames", ())


_after_ray: set[pytest.Item] = set()


def pytest_collection_finish(session: pytest.Session) -> None:
    last = max((number for number, item in enumerate(session.items) if _on_shared_ray(item)), default=-1)
    _after_ray.update(session.items[last + 1 :])


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item in _after_ray:
        _shared_ray.close()


_told: set[str] = set()  # by the processes that pytest-xdist spreads the tests over


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["s3"] = summary_line(_server)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _told.add(getattr(node, "workeroutput", {}).get("s3", "S3: a process of the tests died"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in sorted(_told) or [summary_line(_server)]:
        terminalreporter.write_line(line)
