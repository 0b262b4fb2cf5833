"""nightly.py against a Kubernetes that is an HTTP server of thirty lines."""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

SCRIPT = Path(__file__).parents[2] / "deploy" / "kubernetes" / "nightly.py"
RAYJOBS = "/apis/ray.io/v1/namespaces/rookery/rayjobs"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("nightly", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nightly = load()


class Kubernetes(ThreadingHTTPServer):
    """Holds RayJobs; each look at one moves it a step on through `states`. A number is an HTTP error."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rayjobs: dict[str, dict[str, Any]] = {}
        self.states: list[str | int] = []
        self.tokens: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Kubernetes

    def do_POST(self) -> None:
        rayjob = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != RAYJOBS:
            return self._answer(404, {})
        name = rayjob["metadata"]["name"]
        if name in self.server.rayjobs:
            return self._answer(409, {"reason": "AlreadyExists"})
        self.server.rayjobs[name] = rayjob
        return self._answer(201, rayjob)

    def do_GET(self) -> None:
        if self.path.removeprefix(f"{RAYJOBS}/") not in self.server.rayjobs:
            return self._answer(404, {})
        state = self.server.states.pop(0)
        if isinstance(state, int):
            return self._answer(state, {})
        # A new RayJob has no status at all.
        return self._answer(200, {"status": {"jobDeploymentStatus": state}} if state else {})

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        self.server.tokens.append(self.headers["Authorization"])
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kubernetes() -> Iterator[Kubernetes]:
    with Kubernetes() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def rayjobs(kubernetes: Kubernetes, tmp_path: Path) -> Any:
    (tmp_path / "namespace").write_text("rookery")
    (tmp_path / "token").write_text("first")
    return nightly.RayJobs(f"http://127.0.0.1:{kubernetes.server_port}", tmp_path)


@pytest.fixture
def rayjob() -> dict[str, Any]:
    manifest = yaml.safe_load(SCRIPT.with_name("rayjob.yaml").read_text())
    return dict(nightly.tonight(manifest, "rookery-nightly-29000000", "some-uid"))


def test_rayjob_is_named_after_its_job_and_dies_with_it(rayjob: dict[str, Any]) -> None:
    manifest = yaml.safe_load(SCRIPT.with_name("rayjob.yaml").read_text())
    assert rayjob["spec"] == manifest["spec"]
    assert rayjob["metadata"] == {
        "name": "rookery-nightly-29000000",
        "labels": manifest["metadata"]["labels"],
        "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "rookery-nightly-29000000", "uid": "some-uid"}
        ],
    }


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["", "Initializing", "Running", "Complete"], 0),
        (["Running", "Retrying", "Running", "Complete"], 0),
        (["Running", 503, 500, "Complete"], 0),  # Kubernetes was away
        (["Running", "Failed"], 3),
        (["ValidationFailed"], 3),
        (["Running", 404], 3),  # somebody deleted it
    ],
)
def test_waits_for_the_end(
    kubernetes: Kubernetes, rayjobs: Any, rayjob: dict[str, Any], states: list[Any], code: int
) -> None:
    kubernetes.states = states
    rayjobs.create(rayjob)
    assert nightly.wait(rayjobs, rayjob["metadata"]["name"], poll_seconds=0) == code
    assert kubernetes.states == []


def test_a_second_pod_waits_for_the_first_ones_rayjob(
    kubernetes: Kubernetes, rayjobs: Any, rayjob: dict[str, Any]
) -> None:
    rayjobs.create(rayjob)
    rayjobs.create(rayjob)
    assert list(kubernetes.rayjobs) == ["rookery-nightly-29000000"]


def test_a_refused_rayjob_is_an_error(kubernetes: Kubernetes, rayjob: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("elsewhere")
    (tmp_path / "token").write_text("first")
    rayjobs = nightly.RayJobs(f"http://127.0.0.1:{kubernetes.server_port}", tmp_path)
    with pytest.raises(OSError, match="404"):
        rayjobs.create(rayjob)


def test_a_renewed_token_is_read(kubernetes: Kubernetes, rayjobs: Any, rayjob: dict[str, Any], tmp_path: Path) -> None:
    rayjobs.create(rayjob)
    (tmp_path / "token").write_text("second")
    kubernetes.states = ["Complete"]
    rayjobs.status(rayjob["metadata"]["name"])
    assert kubernetes.tokens == ["Bearer first", "Bearer second"]
