"""A prediction table that is made true every night. Copy this file into `dags/`; what it imports goes into `plugins/`.

    label ─▶ outcome ─┬▶ published      a new snapshot: tells the DAGs that are scheduled on the table
                      ├▶ unchanged      nothing was to do
                      ├▶ budget_spent   all work is kept, and the next night goes on
                      └▶ held_back      a gate holds the result back: fails, so that somebody looks

`label` is tried again where the run says so (exit code 75) or its cluster is lost, and fails at once otherwise. A
green `label` under a red `held_back` means: the night's work is done, and not to be repeated; readers still see the
last good snapshot.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, task
from airflow.sdk.exceptions import AirflowFailException
from rookery_airflow import RookeryRayJobOperator, RookerySubmitOperator  # noqa: F401

TABLE = Asset("s3://my-tables/topics")  # `table.uri` of the job file
TABLE_CONNECTION = "aws_default"  # reads TABLE/_runs

with DAG(
    dag_id="rookery_topics",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # a run labels whatever is missing, of all nights
    max_active_runs=1,  # two at once would be safe, and a waste
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["rookery"],
):
    # On Kubernetes: a copy of the suspended RayJob `rookery-label` of deploy/kubernetes.
    label = RookeryRayJobOperator(task_id="label", table=TABLE.uri, table_conn_id=TABLE_CONNECTION)

    # Or on a Ray cluster that is there:
    # label = RookerySubmitOperator(
    #     task_id="label",
    #     table=TABLE.uri,
    #     table_conn_id=TABLE_CONNECTION,
    #     entrypoint="python -m jobs.label --config /etc/rookery/job.yaml",
    # )

    @task.branch
    def outcome(summary):
        return summary["outcome"]

    @task(outlets=[TABLE])
    def published(summary, *, outlet_events):
        keys = ("snapshot", "run_id", "documents", "errors", "changes")
        outlet_events[TABLE].extra = {key: summary[key] for key in keys if key in summary}

    @task(retries=0)
    def held_back(summary):
        raise AirflowFailException(f"{summary['table']} is held back: {summary['message']}")

    ends = [
        published(label.output),
        EmptyOperator(task_id="unchanged"),
        EmptyOperator(task_id="budget_spent"),
        held_back(label.output),
    ]
    outcome(label.output) >> ends
