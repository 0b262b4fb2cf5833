"""Runs DAGs with Airflow's own `dag.test()`; a program of Airflow's environment, started by test_airflow.py.

airflow_runs.py FILE DAG [DAG…]   runs each in turn, and appends a line of JSON of each to the file
airflow_runs.py FILE              appends what Airflow makes of the files of the dags folder
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.utils.db import check_migrations, initdb
from airflow.utils.session import create_session
from sqlalchemy import select

NIGHT = datetime(2026, 11, 27, 2, tzinfo=UTC)


def run(dag: DAG) -> dict[str, Any]:
    """Runs a DAG for one night; gives the states and tries of its tasks, what `label` returned, and assets' events."""
    dag_run = dag.test(logical_date=NIGHT)
    with create_session() as session:
        query = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag.dag_id, task_ids="label", key="return_value")
        values = [XComModel.deserialize_value(row) for row in session.scalars(query)]
        events = select(AssetEvent).where(AssetEvent.source_run_id == dag_run.run_id)
        return {
            "dag": dag.dag_id,
            "state": dag_run.state,
            "tasks": {ti.task_id: [ti.state, ti.try_number] for ti in dag_run.get_task_instances()},
            "summary": values[0] if values else None,
            "events": [[event.asset.uri, event.extra] for event in session.scalars(events)],
        }


def tell(file: str, **facts: Any) -> None:
    """Appends a line."""
    with Path(file).open("a") as lines:
        lines.write(json.dumps(facts) + "\n")


def main(file: str, *dags: str) -> None:
    """See above."""
    try:
        check_migrations(0)
    except TimeoutError:
        initdb()
    bag = DagBag()
    if not dags:
        ids = {id_: sorted(dag.task_dict) for id_, dag in bag.dags.items()}
        tell(file, dags=ids, errors=bag.import_errors, warnings=bag.captured_warnings)
    for id_ in dags:
        tell(file, **run(bag.dags[id_]))


if __name__ == "__main__":
    main(*sys.argv[1:])
