"""Where Rookery's jobs run, as Airflow's workers and triggerers ask for them. Copy this file into `plugins/`.

Both clusters answer the same questions: which jobs a DAG run has, how one is; and they start and stop one. A name that
is taken is refused by the cluster itself, so that two workers never start one job twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowFailException

FAULT, CONFIGURATION, TRY_AGAIN, STOPPED = 1, 2, 75, 143
KILLED = 128  # and the signal's number: for want of memory, mostly
FINAL = ("ValidationFailed", "DeadlineExceeded")  # another try would end so too
RAYJOBS = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
RUN_LABEL = "rookery/airflow-run"
MESSAGE_CHARACTERS = 3000


@dataclass(frozen=True)
class JobState:
    """What a cluster says of a job; `exit_code` is None while it lives. `submission_id` is Ray's name of it."""

    exit_code: int | None
    message: str = ""
    submission_id: str | None = None


class RayCluster:
    """A Ray cluster that is there, by an Airflow connection: host, port and, as the password, the cluster's token."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._options: dict[str, Any] | None = None

    async def jobs(self, run: str) -> dict[str, JobState]:
        """Gives the jobs of a DAG run, by name."""
        answer = await self._ask("GET", "/api/jobs/")
        named = {job["submission_id"]: job for job in answer.json() if job["submission_id"]}
        return {name: _state_of_job(job) for name, job in named.items() if _is_of(name, run)}

    async def look(self, job: str) -> JobState:
        """Says how a job is. One that Ray has forgotten is lost: its head has been started anew."""
        answer = await self._ask("GET", f"/api/jobs/{job}", allowed=(404,))
        if answer.status_code == 404:
            return JobState(TRY_AGAIN, f"Ray knows no job {job} any more: its head was started anew", job)
        return _state_of_job(answer.json())

    async def start(self, job: str, run: str, request: Mapping[str, Any]) -> bool:
        """Submits a job, with `entrypoint` and `runtime_env`; False where there is one of this name."""
        body = {**request, "submission_id": job, "metadata": {"airflow_run": run}}
        answer = await self._ask("POST", "/api/jobs/", body, allowed=(400,))
        if answer.status_code == 400 and "already exists" not in answer.text:
            raise AirflowFailException(f"Ray refuses the job: {answer.text[-MESSAGE_CHARACTERS:]}")
        return answer.status_code != 400

    async def stop(self, job: str) -> None:
        await self._ask("POST", f"/api/jobs/{job}/stop", allowed=(404,))

    async def _ask(self, method: str, path: str, body: Any = None, allowed: tuple[int, ...] = ()) -> httpx.Response:
        if self._options is None:
            connection = await BaseHook.aget_connection(self._conn_id)
            host, token = connection.host or "", connection.password
            url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
            self._options = {
                "base_url": f"{url}:{connection.port}" if connection.port else url,
                "headers": {"Authorization": f"Bearer {token}"} if token else {},
            }
        async with httpx.AsyncClient(**self._options, timeout=60) as client:
            answer = await client.request(method, path, json=body)
        if answer.status_code in (401, 403):
            raise AirflowFailException(
                f"{answer.url} answers {answer.status_code}: the password of the connection {self._conn_id!r} "
                "must be the cluster's token"
            )
        if answer.status_code not in allowed:
            answer.raise_for_status()
        return answer


class RayJobs:
    """The RayJobs of one namespace, by an Airflow connection to Kubernetes."""

    def __init__(self, conn_id: str, namespace: str) -> None:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook

        self._hook, self._namespace = AsyncKubernetesHook(conn_id=conn_id), namespace

    async def jobs(self, run: str) -> dict[str, JobState]:
        """Gives the jobs of a DAG run, by name."""
        answer = await self._ask("list", label_selector=f"{RUN_LABEL}={run}")
        return {job["metadata"]["name"]: _state_of_rayjob(job) for job in answer["items"]}

    async def look(self, job: str) -> JobState:
        """Says how a job is. One that is not there any more has been deleted by somebody."""
        answer = await self._ask("get", name=job, allowed=(404,))
        return _state_of_rayjob(answer) if answer else JobState(STOPPED, f"RayJob {job} has been deleted")

    async def start(self, job: str, run: str, request: Mapping[str, Any]) -> bool:
        """Creates a copy of the RayJob `template`, not suspended; False where there is one of this name."""
        template = await self._ask("get", name=request["template"])
        labels = template["metadata"].get("labels", {}) | {RUN_LABEL: run}
        body = {
            "apiVersion": template["apiVersion"],
            "kind": template["kind"],
            "metadata": {"name": job, "labels": labels},
            "spec": template["spec"] | {"suspend": False},
        }
        return await self._ask("create", body=body, allowed=(409,)) is not None

    async def stop(self, job: str) -> None:
        await self._ask("delete", name=job, allowed=(404,))

    async def _ask(self, verb: str, allowed: tuple[int, ...] = (), **arguments: Any) -> Any:
        """None where Kubernetes refuses with a status that is allowed."""
        from kubernetes_asyncio.client import ApiException, CustomObjectsApi

        async with self._hook.get_conn() as client:
            call = getattr(CustomObjectsApi(client), f"{verb}_namespaced_custom_object")
            try:
                return await call(**RAYJOBS, namespace=self._namespace, **arguments)
            except ApiException as error:
                if error.status in allowed:
                    return None
                if error.status in (401, 403, 404, 422):
                    raise AirflowFailException(f"Kubernetes refuses to {verb} a RayJob: {error}") from error
                raise


def _is_of(job: str, run: str) -> bool:
    return job.rpartition("-")[0] == run


def _state_of_job(job: Mapping[str, Any]) -> JobState:
    """Reads one of Ray's JobDetails."""
    codes = {"SUCCEEDED": 0, "STOPPED": STOPPED, "FAILED": TRY_AGAIN}
    code = codes.get(job["status"])
    if job["status"] == "FAILED":
        driver = job.get("driver_exit_code")
        if driver is not None and 0 < driver < KILLED:
            code = driver
        elif job.get("error_type") == "RUNTIME_ENV_SETUP_FAILURE":
            code = CONFIGURATION
    return JobState(code, job.get("message") or "", job["submission_id"])


def _state_of_rayjob(rayjob: Mapping[str, Any]) -> JobState:
    """Reads a RayJob's status. KubeRay has no field for the exit code: Ray's message, which it copies, tells it."""
    status = rayjob.get("status") or {}
    deployment, message = status.get("jobDeploymentStatus"), status.get("message", "")
    code = None
    if deployment == "Complete":
        code = 0 if status.get("jobStatus") == "SUCCEEDED" else STOPPED
    elif deployment in FINAL or (deployment == "Failed" and status.get("reason") in FINAL):
        code = FAULT
    elif deployment == "Failed":
        match = re.search(r"failed with exit code (\d+)", message)
        code = int(match[1]) if match and int(match[1]) < KILLED else TRY_AGAIN
    return JobState(code, message, status.get("jobId"))


def cluster_of(conn_id: str, namespace: str | None) -> RayCluster | RayJobs:
    """Gives the cluster of a connection: with a namespace, Kubernetes."""
    return RayJobs(conn_id, namespace) if namespace else RayCluster(conn_id)
