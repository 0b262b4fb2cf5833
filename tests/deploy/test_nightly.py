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

SCRIPT = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base" / "nightly.py"
RAYJOBS = "/apis/ray.io/v1/namespaces/rookery/rayjobs"
State = dict[str, str] | int


def load() -> Any:
    spec = importlib.util.spec_from_file_location("nightly", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nightly = load()


class Kubernetes(ThreadingHTTPServer):
    """Holds RayJobs; each look at one that isn't suspended takes the next status. A number is an HTTP error."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rayjobs: dict[str, dict[str, Any]] = {}
        self.states: list[State] = []
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
        name = self.path.removeprefix(f"{RAYJOBS}/")
        if name not in self.server.rayjobs:
            return self._answer(404, {})
        rayjob = self.server.rayjobs[name]
        if rayjob.get("spec", {}).get("suspend"):
            return self._answer(200, rayjob)
        state = self.server.states.pop(0)
        return self._answer(state, {}) if isinstance(state, int) else self._answer(200, rayjob | {"status": state})

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


TEMPLATE = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {
        "name": "rookery-label",
        "uid": "its-own",
        "resourceVersion": "12",
        "labels": {"app.kubernetes.io/part-of": "rookery"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    },
    "spec": {"suspend": True, "entrypoint": "python -m jobs.label"},
    "status": {"jobDeploymentStatus": "Suspended"},
}
NIGHT = "rookery-nightly-29000000"
FIRST, SECOND, THIRD = (f"{NIGHT}-{attempt}" for attempt in (1, 2, 3))
COMPLETE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}


def failed(code: int) -> dict[str, str]:
    message = f"Job entrypoint command failed with exit code {code}, last available logs (truncated …):\nexit code 0"
    return {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": message}


def state(name: str, **fields: str) -> dict[str, str]:
    return {"jobDeploymentStatus": name} | fields


def run(kubernetes: Kubernetes, rayjobs: Any, *states: State) -> int:
    kubernetes.rayjobs.setdefault("rookery-label", TEMPLATE)
    kubernetes.states = list(states)
    code: int = nightly.run(rayjobs, NIGHT, "some-uid", poll_seconds=0, pause_seconds=0)
    assert kubernetes.states == []
    return code


def runs(kubernetes: Kubernetes) -> list[str]:
    return [name for name in kubernetes.rayjobs if name != "rookery-label"]


def test_the_rayjob_is_the_template_under_the_nights_name(kubernetes: Kubernetes, rayjobs: Any) -> None:
    assert run(kubernetes, rayjobs, COMPLETE) == 0
    assert kubernetes.rayjobs[FIRST] == {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": FIRST,
            "labels": {"app.kubernetes.io/part-of": "rookery"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": NIGHT, "uid": "some-uid"}],
        },
        "spec": {"suspend": False, "entrypoint": "python -m jobs.label"},
    }


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (({}, state("Initializing"), state("Running"), COMPLETE), 0),
        ((state("Running"), 503, 500, COMPLETE), 0),  # Kubernetes was away
        ((failed(7),), 0),  # the budget is spent: the next night goes on
        ((failed(6),), 6),
        ((failed(2),), 2),
        ((failed(1),), 1),
        ((state("ValidationFailed"),), 1),
        ((state("Failed", reason="DeadlineExceeded", message="too long"),), 1),
        ((state("Complete", jobStatus="STOPPED"),), 1),
        ((state("Running"), 404), 1),  # somebody deleted it
    ],
)
def test_the_runs_end_is_the_pods(kubernetes: Kubernetes, rayjobs: Any, states: tuple[State, ...], code: int) -> None:
    assert run(kubernetes, rayjobs, *states) == code
    assert runs(kubernetes) == [FIRST]


@pytest.mark.parametrize(
    "passing",
    [
        failed(75),
        failed(137),  # killed for want of memory
        failed(-9),
        state("Failed", reason="SubmissionFailed", message="Job submission has failed."),
        state("Failed", reason="PreRunningDeadlineExceeded"),
    ],
)
def test_what_may_pass_is_tried_again_on_a_new_cluster(
    kubernetes: Kubernetes, rayjobs: Any, passing: dict[str, str]
) -> None:
    assert run(kubernetes, rayjobs, passing, passing, COMPLETE) == 0
    assert runs(kubernetes) == [FIRST, SECOND, THIRD]


def test_it_is_not_tried_for_ever(kubernetes: Kubernetes, rayjobs: Any) -> None:
    assert run(kubernetes, rayjobs, failed(75), failed(75), failed(75)) == 75
    assert len(runs(kubernetes)) == 3


def test_a_pod_that_replaces_a_lost_one_goes_on_with_its_rayjobs(kubernetes: Kubernetes, rayjobs: Any) -> None:
    kubernetes.rayjobs |= {"rookery-label": TEMPLATE, FIRST: {}, SECOND: {}}
    assert run(kubernetes, rayjobs, failed(75), state("Running"), COMPLETE) == 0
    assert runs(kubernetes) == [FIRST, SECOND]


def test_the_names_are_ones_that_kuberay_takes() -> None:
    names = [rayjob["metadata"]["name"] for rayjob in nightly.copies(TEMPLATE, NIGHT, "some-uid")]
    assert names == [FIRST, SECOND, THIRD]
    assert max(map(len, names)) <= 47
    assert NIGHT not in names  # KubeRay would take the night's own Job for the one that submits


def test_a_refused_rayjob_is_an_error(kubernetes: Kubernetes, tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("elsewhere")
    (tmp_path / "token").write_text("first")
    rayjobs = nightly.RayJobs(f"http://127.0.0.1:{kubernetes.server_port}", tmp_path)
    with pytest.raises(OSError, match="404"):
        nightly.run(rayjobs, NIGHT, "some-uid")


def test_kubernetes_starts_the_script_again_where_it_was_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nightly, "ACCOUNT", tmp_path)  # which lacks everything
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "JOB_NAME", "JOB_UID"):
        monkeypatch.setenv(name, "1")
    code = nightly.main()
    manifest = yaml.safe_load(SCRIPT.with_name("nightly.yaml").read_text().partition("\n---\n")[0])
    rules = manifest["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    (final,) = (rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob")
    assert code == 69
    assert final == [1, 2, 3, 4, 5, 6, 75]  # the run's own ends, which are no reason to start it again


def test_a_renewed_token_is_read(kubernetes: Kubernetes, rayjobs: Any, tmp_path: Path) -> None:
    kubernetes.rayjobs["rookery-label"] = TEMPLATE
    rayjobs.get("rookery-label")
    (tmp_path / "token").write_text("second")
    rayjobs.get("rookery-label")
    assert kubernetes.tokens == ["Bearer first", "Bearer second"]
