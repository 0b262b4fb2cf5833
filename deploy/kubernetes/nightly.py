"""Creates tonight's RayJob and waits for its end; what the CronJob of nightly.yaml runs.

It needs Python and PyYAML, so Rookery's own image does: no second image to pin and to trust.
Losing its pod does no harm. The RayJob has the Job's name, so the next pod finds it and waits on;
the Job owns the RayJob, so Kubernetes deletes both together.

Exit codes: 0 the RayJob is complete · 3 it failed · 1 this script failed, try again.
"""

import http.client
import json
import logging
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

FAILED = 3
POLL_SECONDS = 15
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

log = logging.getLogger("nightly")


class RayJobs:
    """The RayJobs of one namespace, through Kubernetes' REST interface."""

    def __init__(self, server: str, account: Path) -> None:
        self._account = account
        namespace = (account / "namespace").read_text()
        self._url = f"{server}/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
        authority = account / "ca.crt"
        self._tls = ssl.create_default_context(cafile=str(authority)) if authority.exists() else None

    def create(self, rayjob: dict[str, Any]) -> None:
        """Creates it, unless an earlier pod has."""
        try:
            self._request(self._url, json.dumps(rayjob).encode())
        except urllib.error.HTTPError as error:
            if error.code != http.client.CONFLICT:
                log.error("Kubernetes answers: %s", error.read().decode(errors="replace"))
                raise
            log.info("already there: waiting on")

    def status(self, name: str) -> dict[str, Any]:
        return dict(self._request(f"{self._url}/{name}").get("status") or {})

    def _request(self, url: str, body: bytes | None = None) -> dict[str, Any]:
        token = (self._account / "token").read_text()  # each time: Kubernetes changes it hourly
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as response:
            return dict(json.load(response))


def tonight(manifest: dict[str, Any], job_name: str, job_uid: str) -> dict[str, Any]:
    """The manifest under the Job's name and ownership."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "generateName"}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job_name, "uid": job_uid}
    return manifest | {"metadata": metadata | {"name": job_name, "ownerReferences": [owner]}}


def wait(rayjobs: RayJobs, name: str, poll_seconds: float = POLL_SECONDS) -> int:
    """Returns the exit code once the RayJob has ended. A Kubernetes that is away for a while is waited for."""
    seen = None
    while True:
        try:
            status = rayjobs.status(name)
        except urllib.error.HTTPError as error:
            if error.code == http.client.NOT_FOUND:
                log.error("%s has been deleted", name)
                return FAILED
            log.warning("%s", error)
        except OSError as error:
            log.warning("%s", error)
        else:
            state = status.get("jobDeploymentStatus")
            if state != seen:
                log.info("%s: %s %s", name, state, status.get("message", ""))
                seen = state
            if state == "Complete":
                return 0
            if state in ("Failed", "ValidationFailed"):
                return FAILED
        time.sleep(poll_seconds)


def main() -> int:
    """Creates tonight's RayJob and follows it to its end; gives the exit code for this pod."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    if ":" in host:
        host = f"[{host}]"  # IPv6
    manifest = yaml.safe_load(Path(__file__).with_name("rayjob.yaml").read_text())
    rayjob = tonight(manifest, os.environ["JOB_NAME"], os.environ["JOB_UID"])
    rayjobs = RayJobs(f"https://{host}:{port}", ACCOUNT)
    rayjobs.create(rayjob)
    return wait(rayjobs, rayjob["metadata"]["name"])


if __name__ == "__main__":
    sys.exit(main())
