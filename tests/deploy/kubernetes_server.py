"""A stand-in for Kubernetes' REST interface, as far as RayJobs go."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

RAYJOBS = "/apis/ray.io/v1/namespaces/rookery/rayjobs"
TEMPLATE: dict[str, Any] = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"name": "rookery-label", "uid": "its-own", "labels": {"app.kubernetes.io/part-of": "rookery"}},
    "spec": {"suspend": True, "entrypoint": "python -m jobs.label"},
    "status": {"jobDeploymentStatus": "Suspended"},
}


def failed(code: int) -> dict[str, str]:
    """The status of a RayJob whose driver ended with this code, as KubeRay copies it from Ray."""
    message = f"Job entrypoint command failed with exit code {code}, last available logs (truncated to 20,000 chars):\n"
    return {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": f"{message}why"}


class Kubernetes(ThreadingHTTPServer):
    """Holds RayJobs. `endings` of a DAG: the statuses in which its RayJobs end, each at the second look at it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rayjobs: dict[str, dict[str, Any]] = {"rookery-label": TEMPLATE}
        self.endings: dict[str, list[dict[str, Any]]] = {}
        self.refused: list[str] = []

    def step(self, name: str) -> dict[str, Any]:
        """Gives a RayJob as it is now, and moves it on."""
        rayjob = self.rayjobs[name]
        if rayjob["spec"]["suspend"]:
            return rayjob
        state = rayjob.get("status", {}).get("jobDeploymentStatus")
        if state is None:
            rayjob["status"] = {"jobDeploymentStatus": "Initializing"}
        elif state == "Initializing":
            endings = next(endings for dag, endings in self.endings.items() if name.startswith(dag.replace("_", "-")))
            rayjob["status"] = endings.pop(0)
        return rayjob


class Handler(BaseHTTPRequestHandler):
    server: Kubernetes

    def do_POST(self) -> None:
        rayjob = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = rayjob["metadata"]["name"]
        if name in self.server.rayjobs:
            return self._answer(409, {"kind": "Status", "reason": "AlreadyExists"})
        self.server.rayjobs[name] = rayjob
        return self._answer(201, rayjob)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == RAYJOBS:
            [selector] = parse_qs(url.query)["labelSelector"]
            key, _, value = selector.partition("=")
            items = [job for job in self.server.rayjobs.values() if job["metadata"].get("labels", {}).get(key) == value]
            return self._answer(200, {"kind": "RayJobList", "items": items})
        name = url.path.removeprefix(f"{RAYJOBS}/")
        if name not in self.server.rayjobs:
            return self._answer(404, {"kind": "Status", "reason": "NotFound"})
        return self._answer(200, self.server.step(name))

    def do_DELETE(self) -> None:
        rayjob = self.server.rayjobs.pop(urlsplit(self.path).path.removeprefix(f"{RAYJOBS}/"), None)
        return self._answer(200 if rayjob else 404, rayjob or {})

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        if self.headers["Authorization"] != "Bearer of-kubernetes":
            self.server.refused.append(self.path)
            code, body = 401, {"kind": "Status", "reason": "Unauthorized"}
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def kubernetes_server() -> Iterator[Kubernetes]:
    """Starts one on loopback."""
    with Kubernetes() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
