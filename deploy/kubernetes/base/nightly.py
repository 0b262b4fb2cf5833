"""Creates tonight's RayJob and follows it to its end; what the CronJob of nightly.yaml runs.

The suspended RayJob of rayjob.yaml is the template. Its copy is named after the Job, whose name the CronJob derives
from the night: a pod that replaces a lost one finds the copy and waits on. The Job owns it, so Kubernetes deletes both
together. A run that ends with 75, or whose cluster is lost, is tried again as a copy of its own, on a new cluster;
finished units are not done again.

Exit codes: the run's own, but 0 for 7 too (the budget is spent: the next night goes on) · 69 Kubernetes did not answer
or refused, so that Kubernetes starts this script again.
"""

import http.client
import json
import logging
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEMPLATE = "rookery-label"
FAULT, HELD_BACK, BUDGET_SPENT, UNAVAILABLE, TRY_AGAIN = 1, 6, 7, 69, 75
ATTEMPTS = 3
POLL_SECONDS = 15
PAUSE_SECONDS = 300
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXIT_CODE = re.compile(r"failed with exit code (\d+)")  # Ray's words; without them the cluster was lost
KILLED = 128  # and the signal's number: for want of memory, mostly
FINAL = ("ValidationFailed", "DeadlineExceeded")  # another attempt would end so too

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
            log.info("%s is already there", rayjob["metadata"]["name"])

    def get(self, name: str) -> dict[str, Any]:
        return dict(self._request(f"{self._url}/{name}"))

    def _request(self, url: str, body: bytes | None = None) -> dict[str, Any]:
        token = (self._account / "token").read_text()  # each time: Kubernetes changes it hourly
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as response:
            return dict(json.load(response))


def copies(template: dict[str, Any], job_name: str, job_uid: str) -> Iterator[dict[str, Any]]:
    """Tonight's RayJobs, one an attempt, named after the Job and owned by it.

    None has the very name of the Job: KubeRay gives a RayJob's name to the Job that submits it, and would take this one
    for it and submit nothing.
    """
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job_name, "uid": job_uid}
    labels = template["metadata"].get("labels", {})
    for attempt in range(1, ATTEMPTS + 1):
        yield {
            "apiVersion": template["apiVersion"],
            "kind": template["kind"],
            "metadata": {"name": f"{job_name}-{attempt}", "labels": labels, "ownerReferences": [owner]},
            "spec": template["spec"] | {"suspend": False},
        }


def follow(rayjobs: RayJobs, name: str, poll_seconds: float) -> int:
    """Returns the run's exit code once the RayJob has ended. A Kubernetes that is away for a while is waited for."""
    seen = None
    while True:
        try:
            status = rayjobs.get(name).get("status") or {}
        except urllib.error.HTTPError as error:
            if error.code == http.client.NOT_FOUND:
                log.error("%s has been deleted", name)
                return FAULT
            log.warning("%s", error)
        except OSError as error:
            log.warning("%s", error)
        else:
            state = status.get("jobDeploymentStatus")
            if state != seen:
                log.info("%s: %s %s", name, state, status.get("message", ""))
                seen = state
            if state in ("Complete", "Failed", "ValidationFailed"):
                return exit_code(status)
        time.sleep(poll_seconds)


def exit_code(status: dict[str, Any]) -> int:
    """Rookery's exit code, as the status of a RayJob that has ended has it; 75 for a cluster that was lost."""
    if status["jobDeploymentStatus"] == "Complete":
        return 0 if status.get("jobStatus") == "SUCCEEDED" else FAULT  # or somebody has stopped it
    if status["jobDeploymentStatus"] in FINAL or status.get("reason") in FINAL:
        return FAULT
    match = EXIT_CODE.search(status.get("message", ""))
    return int(match[1]) if match and int(match[1]) < KILLED else TRY_AGAIN


def run(
    rayjobs: RayJobs,
    job_name: str,
    job_uid: str,
    poll_seconds: float = POLL_SECONDS,
    pause_seconds: float = PAUSE_SECONDS,
) -> int:
    """Runs it, again while it ends with 75, and gives the exit code for this pod."""
    code = 0
    for rayjob in copies(rayjobs.get(TEMPLATE), job_name, job_uid):
        if code == TRY_AGAIN:
            time.sleep(pause_seconds)
        rayjobs.create(rayjob)
        code = follow(rayjobs, rayjob["metadata"]["name"], poll_seconds)
        if code != TRY_AGAIN:
            break
    if code == BUDGET_SPENT:
        log.info("the budget is spent: the next night goes on")
        return 0
    if code == HELD_BACK:
        log.error("held back by a gate: `rookery snapshots` shows the candidate, `rookery publish` lets it through")
    return code


def main() -> int:
    """Runs tonight's job; gives the exit code for this pod."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    if ":" in host:
        host = f"[{host}]"  # IPv6
    try:
        return run(RayJobs(f"https://{host}:{port}", ACCOUNT), os.environ["JOB_NAME"], os.environ["JOB_UID"])
    except OSError as error:
        log.error("%s", error)
        return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
