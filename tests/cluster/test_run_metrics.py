"""What a run counts for Prometheus. That it arrives on Ray's page is in tests/jobs/test_ray_job_submit.py."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.sample import CHECKPOINT
from pipeline.cluster.run_metrics import RunMetrics, count_outcomes, labels_of
from pipeline.config.label import parse_job
from pipeline.errors import BudgetSpentError
from pipeline.planning.plan import Plan, make_plan
from pipeline.runs.progress import Progress
from pipeline.runs.unit_done import UnitDone

UNIT = UnitDone(
    unit="0" * 32,
    table=0,
    documents=10,
    errors=1,
    windows=12,
    tokens=40_000,
    read_s=0.1,
    text_s=0.5,
    wait_s=0.01,
    encode_s=12.0,
    write_s=0.2,
    padding=300,
)


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "a proposal"}\n')
    settings = [f"corpus.uris={tmp_path}/a.jsonl", "corpus.id_column=id", f"checkpoint.uri={CHECKPOINT}"]
    return make_plan(parse_job("tags: {team: search, cost_center: '4711'}", [*settings, f"table.uri={tmp_path}/table"]))


def test_labels_name_the_table_its_checkpoint_and_the_tags(planned: Plan, tmp_path: Path):
    assert labels_of(planned) == {
        "table": f"{tmp_path}/table",
        "checkpoint": planned.publication.checkpoint["weights_digest"][:12],
        "tag_team": "search",
        "tag_cost_center": "4711",
    }


@pytest.mark.parametrize(
    ("uri", "label"),
    [
        ("s3://bucket/topics", "s3://bucket/topics"),
        ("abfs://container@account.dfs.core.windows.net/t", "abfs://container@account.dfs.core.windows.net/t"),
        ("sftp://someone:secret@host/a:b@c", "sftp://host/a:b@c"),
    ],
)
def test_a_label_has_no_password(planned: Plan, uri: str, label: str):
    table = planned.job.table.model_copy(update={"uri": uri})
    assert labels_of(replace(planned, job=planned.job.model_copy(update={"table": table})))["table"] == label


@pytest.mark.ray
def test_a_ray_of_our_own_takes_metrics_in_silence(ray: None, planned: Plan, capfd: pytest.CaptureFixture[str]):
    """Ray drops a name that it can't export, and warns: warnings are errors here."""
    progress, metrics = Progress([planned]), RunMetrics([planned])
    started = time.perf_counter()
    for _ in range(1000):
        metrics.add(UNIT)
    seconds = (time.perf_counter() - started) / 1000
    metrics.show(progress)
    count_outcomes([planned], [None])
    count_outcomes([planned], [BudgetSpentError("5 minutes")])
    assert capfd.readouterr() == ("", "")
    assert seconds < 0.01  # of a driver that gets one unit each 20 s from each of its actors
