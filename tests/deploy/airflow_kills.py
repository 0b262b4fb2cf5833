"""What becomes of a job on Ray when those are killed that wait for it; a program of Airflow's environment.

airflow_kills.py FILE   appends a line of JSON: what happened
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow.settings  # noqa: F401, it puts the plugins folder onto the path
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.module_loading import import_string
from rookery_airflow import RookerySubmitOperator, run_name
from rookery_clusters import RayCluster

NIGHT = datetime(2026, 11, 27, 2, tzinfo=UTC)
CONTEXT = {
    "ti": SimpleNamespace(dag_id="kills", task_id="label", map_index=-1, run_id="scheduled__2026"),
    "dag_run": SimpleNamespace(logical_date=NIGHT, run_after=NIGHT),
}
cluster = RayCluster("ray_default")


def begun(operator: RookerySubmitOperator) -> TaskDeferred:
    """Executes an operator as a worker does, to the moment when it defers."""
    try:
        operator.begin(CONTEXT)
    except TaskDeferred as deferred:
        return deferred
    raise AssertionError("it has not deferred")


def trigger_of(deferred: TaskDeferred) -> Any:
    """Makes the trigger anew from what the database keeps of it."""
    path, arguments = deferred.trigger.serialize()
    return import_string(path)(**json.loads(json.dumps(arguments)))


async def restarted(deferred: TaskDeferred) -> bool:
    """Runs the trigger in a triggerer that is shut down; whether the job lives on."""
    task = asyncio.create_task(anext(trigger_of(deferred).run()))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled() and (await cluster.look(deferred.trigger.job)).exit_code is None


async def event_of(deferred: TaskDeferred) -> dict[str, Any]:
    """Waits for the trigger's event, in a triggerer that goes on with it."""
    return dict((await anext(trigger_of(deferred).run())).payload)


def main(file: str) -> None:
    """See above."""

    def operator() -> RookerySubmitOperator:
        return RookerySubmitOperator(task_id="label", table="file:///nowhere", entrypoint="sleep 600", poll_seconds=0.2)

    facts: dict[str, Any] = {"run": run_name(CONTEXT)}
    worker = operator()
    first = begun(worker)
    facts["first"] = [first.trigger.job, first.trigger.is_own, first.method_name]
    facts["lives_after_triggerer"] = asyncio.run(restarted(first))
    second = begun(operator())  # of the next try, whose worker knows nothing of the first
    facts["second"] = [second.trigger.job, second.trigger.is_own]
    worker.on_kill()
    facts["event"] = event = asyncio.run(event_of(second))
    try:
        operator().ended(CONTEXT, event)
    except TaskDeferred as third:
        facts["third"] = [third.trigger.job, third.trigger.is_own]
        asyncio.run(trigger_of(third).on_kill())
        facts["event_after_on_kill"] = asyncio.run(event_of(third))["exit_code"]
    with Path(file).open("a") as lines:
        lines.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
