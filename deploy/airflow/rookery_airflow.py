"""Airflow 3 operators that run Rookery. Copy this file into `plugins/`, and rookery_clusters.py beside it.

    RookeryRayJobOperator   creates a KubeRay RayJob, from a suspended one that is the template
    RookerySubmitOperator   submits a job to a Ray cluster, through Ray's own REST interface

Both return the run's summary, as a dictionary, for every outcome after which there is nothing to repeat: `published`,
`unchanged`, `budget_spent` (exit code 7) and `held_back` (6). Exit code 75, or a cluster that was lost, fails the try
so that Airflow's retries begin another; whatever else ends a run fails the task at once.

Names. A job is called `<dag>-<logical date>-<digest of the DAG run and task>-<number>`. A try lists the jobs of its
DAG run first: it waits for one that lives, and only where none does it creates one under the next number. The cluster
refuses a name that is taken, so two workers with the same task end up with the same job.

The wait is deferred: it holds no worker. The trigger knows a connection and a job's name and nothing else, so that
any triggerer can go on with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseOperator, Context, ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent
from rookery_clusters import MESSAGE_CHARACTERS, STOPPED, TRY_AGAIN, RayCluster, RayJobs, cluster_of

OUTCOMES = {0: "published", 6: "held_back", 7: "budget_spent"}
SILENT_SECONDS = 900  # that a cluster may not answer before the try fails; the next one finds the job again
NEWEST_RUNS = 20  # of the table's, among which the summary is looked for


class RookeryTryAgain(Exception):
    """The run ended with 75, or its cluster was lost. What was labelled is kept; Airflow's retries begin another."""


class RookeryTrigger(BaseTrigger):
    """Waits for a job's end. With a namespace the job is a RayJob there.

    The event has JobState's fields, `job`, and `is_own`: whether the try that waits has started it.
    """

    def __init__(self, conn_id: str, namespace: str | None, job: str, is_own: bool, poll_seconds: float) -> None:
        super().__init__()
        self.conn_id, self.namespace = conn_id, namespace
        self.job, self.is_own, self.poll_seconds = job, is_own, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("conn_id", "namespace", "job", "is_own", "poll_seconds")
        return f"{__name__}.RookeryTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        cluster, answered = cluster_of(self.conn_id, self.namespace), time.monotonic()
        while True:
            try:
                state = await cluster.look(self.job)
            except AirflowFailException:
                raise
            except Exception as error:  # whatever a client makes of a cluster that is away
                self.log.warning("%s can't be asked: %s", self.job, error)
                if time.monotonic() - answered > SILENT_SECONDS:
                    raise
            else:
                answered = time.monotonic()
                if state.exit_code is not None:
                    yield TriggerEvent(asdict(state) | {"job": self.job, "is_own": self.is_own})
                    return
            await asyncio.sleep(self.poll_seconds)

    async def on_kill(self) -> None:
        """Stops the job of a task that somebody has cleared, or marked. A triggerer's restart does not come here."""
        await cluster_of(self.conn_id, self.namespace).stop(self.job)


class RookeryOperator(BaseOperator):
    """What both operators have in common.

    Args:
        table: the table's URI, as the job file has it: its `_runs/` hold the summary.
        table_conn_id: Airflow's connection to the table's store, for reading.
        poll_seconds: between two looks at the job.
    """

    template_fields = ("table",)

    def __init__(
        self,
        *,
        conn_id: str,
        table: str,
        table_conn_id: str | None = None,
        poll_seconds: float = 30,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id, self.table, self.table_conn_id = conn_id, table, table_conn_id
        self.poll_seconds = poll_seconds
        self.namespace: str | None = None
        self._starting: tuple[RayCluster | RayJobs, str] | None = None

    def request(self) -> dict[str, Any]:
        """What the cluster's `start` needs beside the names."""
        raise NotImplementedError

    def execute(self, context: Context) -> None:
        self.begin(context)

    def begin(self, context: Context) -> None:
        """Finds or starts this DAG run's job, and waits for it without a worker. Raises TaskDeferred."""
        job, is_own = asyncio.run(self._find_or_start(run_name(context)))
        self.log.info("%s %s", "Started" if is_own else "Found", job)
        trigger = RookeryTrigger(self.conn_id, self.namespace, job, is_own, self.poll_seconds)
        self.defer(trigger=trigger, method_name="ended")

    async def _find_or_start(self, run: str) -> tuple[str, bool]:
        cluster = cluster_of(self.conn_id, self.namespace)
        jobs = await cluster.jobs(run)
        for job, state in jobs.items():
            if state.exit_code is None:
                return job, False
        job = f"{run}-{1 + max((int(name.rpartition('-')[2]) for name in jobs), default=0)}"
        self._starting = cluster, job
        return job, await cluster.start(job, run, self.request())

    def on_kill(self) -> None:
        """Stops the job of a task that ends while it starts one; later the trigger does."""
        if self._starting:
            cluster, job = self._starting
            thread = threading.Thread(target=lambda: asyncio.run(cluster.stop(job)))  # a loop runs in this one
            thread.start()
            thread.join(timeout=60)

    def ended(self, context: Context, event: dict[str, Any]) -> dict[str, Any] | None:
        """Gives the summary of a run that need not be repeated; raises what Airflow makes the right thing of."""
        if event["exit_code"] == STOPPED and not event["is_own"]:
            self.log.info("%s was being stopped when this try found it: starting another", event["job"])
            self.begin(context)
        summary = self._summary(event["submission_id"]) if event["submission_id"] else {}
        code = event["exit_code"]
        if summary.get("exit_code") in OUTCOMES:
            code = summary["exit_code"]  # the table's word counts, where the cluster was lost after the run's end
        message = summary.get("message") or event["message"][-MESSAGE_CHARACTERS:]
        if code in OUTCOMES:
            result = {"outcome": OUTCOMES[code], "exit_code": code, "table": self.table, "message": message}
            result |= summary | {"job": event["job"]}
            self.log.info("%s", json.dumps(result))
            return result
        if code == TRY_AGAIN:
            raise RookeryTryAgain(f"{event['job']} is to be tried again: {message}")
        raise AirflowFailException(f"{event['job']} ended with exit code {code}: {message}")

    def _summary(self, submission_id: str) -> dict[str, Any]:
        """Reads from the table what the run of this job left there; empty where that is nothing."""
        try:
            runs = ObjectStoragePath(f"{self.table.rstrip('/')}/_runs", conn_id=self.table_conn_id)
            ids = sorted((path.name for path in runs.iterdir()), reverse=True) if runs.is_dir() else []
            for id_ in ids[:NEWEST_RUNS]:
                path = runs / id_ / "summary.json"
                if path.is_file() and (summary := json.loads(path.read_bytes())).get("submission_id") == submission_id:
                    return dict(summary)
        except Exception as error:  # noqa: BLE001, of any store: what Ray said of the job is enough
            self.log.warning("The summary can't be read from %s: %s", self.table, error)
        else:
            self.log.info("%s has no summary of %s", runs, submission_id)
        return {}


class RookeryRayJobOperator(RookeryOperator):
    """Runs Rookery as a RayJob, on a Ray cluster of its own: a copy of `template`, as deploy/kubernetes makes it.

    Args:
        conn_id: of Kubernetes; its account may create, get, list and delete RayJobs in `namespace`.
        template: the name of a suspended RayJob. Its entrypoint, images and sizes are the run's.
    """

    template_fields = ("table", "namespace", "template")

    def __init__(
        self,
        *,
        namespace: str = "rookery",
        template: str = "rookery-label",
        conn_id: str = "kubernetes_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(conn_id=conn_id, **kwargs)
        self.namespace, self.template = namespace, template

    def request(self) -> dict[str, Any]:
        return {"template": self.template}


class RookerySubmitOperator(RookeryOperator):
    """Runs Rookery on a Ray cluster that is there. Ray itself is not needed where Airflow runs.

    Args:
        entrypoint: the command, as `ray job submit` takes it.
        conn_id: of the cluster's dashboard, of type HTTP; its password is the token.
        runtime_env: of Ray, for a cluster whose machines have no Rookery: `{"pip": ["rookery==0.1.0"]}`.
    """

    template_fields = ("table", "entrypoint", "runtime_env")

    def __init__(
        self,
        *,
        entrypoint: str,
        conn_id: str = "ray_default",
        runtime_env: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(conn_id=conn_id, **kwargs)
        self.entrypoint, self.runtime_env = entrypoint, runtime_env

    def request(self) -> dict[str, Any]:
        return {"entrypoint": self.entrypoint, "runtime_env": self.runtime_env or {}}


def run_name(context: Context) -> str:
    """Names a task of a DAG run by its logical date, shortly: a RayJob's name has at most 47 letters."""
    ti, dag_run = context["ti"], context["dag_run"]
    date = dag_run.logical_date or dag_run.run_after  # a run that an asset began has no logical date
    moment = dag_run.logical_date.isoformat() if dag_run.logical_date else ti.run_id
    digest = hashlib.sha256(json.dumps([ti.dag_id, ti.task_id, ti.map_index, moment]).encode()).hexdigest()[:6]
    words = re.sub(r"[^a-z0-9]+", "-", ti.dag_id.lower()).strip("-")[:18].strip("-")
    return f"{words if words[:1].isalpha() else 'r' + words}-{date:%Y%m%dt%H%M}-{digest}"
