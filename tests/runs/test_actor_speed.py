"""An actor's speed: of packs that were timed, of runs that were recorded, of a model that is loaded now."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.label import parse_job
from pipeline.cores import processor_name
from pipeline.corpus.rows import documents_table
from pipeline.planning.sample_totals import Estimated
from pipeline.planning.scoring import open_scorer
from pipeline.runs.actor_speed import ActorSpeed, SpeedTrial, speed_of, stored_speed
from pipeline.runs.run_record import RunRecord, RunRecords, new_run_id
from pipeline.storage.objects import Storage


def test_a_speed_is_tokens_over_seconds_with_an_interval_for_what_differs():
    steady = [(second + 1.0, 1000) for second in range(20)]
    speed = speed_of("a device", 3.0, steady)
    assert (speed.tokens_per_second.value, speed.start_seconds, speed.device) == (1000, 3.0, "a device")
    assert 0.1 < speed.tokens_per_second.relative_half_width < 0.13  # what seconds can't tell of hours
    random = np.random.default_rng(0)
    unsteady = zip(np.cumsum(random.lognormal(0, 1, 20)), [1000] * 20, strict=True)
    assert speed_of("a device", 3.0, unsteady).tokens_per_second.relative_half_width > 0.25


def test_threads_that_end_together_are_not_taken_for_a_fast_and_a_slow_pack():
    together = [(second + moment, 1000) for second in range(1, 9) for moment in (0.0, 0.001)]
    assert speed_of("a device", 0.0, together).tokens_per_second.relative_half_width < 0.2


def test_what_tokenizing_takes_of_the_same_cores():
    alone = ActorSpeed(Estimated(1000, 900, 1100), 2.0, "a device")
    beside = alone.beside_text(text_seconds=0.0005, actors=2, cores=4)  # a quarter of a core for each token's second
    left = beside.tokens_per_second
    assert (left.value, left.low, left.high) == pytest.approx((800, 720, 880))


@pytest.fixture
def records(tmp_path: Path) -> RunRecords:
    return RunRecords(Storage(), f"{tmp_path}/table")


def record(records: RunRecords, minutes: float, **values: object) -> str:
    """A run of two actors that computed 100 s each, and took 110."""
    moment = datetime(2026, 11, 27, tzinfo=UTC) + timedelta(minutes=minutes)
    plain = {
        "run_id": new_run_id(moment.timestamp()),
        "table": records.table_uri,
        "state": "ended",
        "started_at": moment,
        "updated_at": moment,
        "scoring_key": "key",
        "actor_cpus": 4,
        "actor_gpus": 0,
        "devices": {"GPU": 7},
        "progress": {"tokens": 2_000_000, "actors": 2},
        "stage_seconds": {"encode": 190.0, "wait": 10.0},
        "actor_hours": 220 / 3600,
    }
    run = RunRecord.model_validate(plain | values)
    records.write_summary(run)
    return run.run_id


def test_the_newest_run_like_this_one_tells(records: RunRecords):
    assert stored_speed(records, "key", 4, 0) is None
    wanted = record(records, 0)
    record(records, 1, scoring_key="another")
    record(records, 2, actor_cpus=1)
    record(records, 2.5, actor_gpus=1)
    record(records, 3, stage_seconds={"encode": 1.0})  # too short to tell
    record(records, 4, devices={"GPU": 1, "CPU": 1})  # whose speed would it be?
    record(records, 5, progress=None, stage_seconds=None)
    speed = stored_speed(records, "key", 4, 0)
    assert speed is not None
    assert (speed.run_id, speed.device, speed.tokens_per_second.value) == (wanted, "GPU", 10_000)
    assert speed.start_seconds == pytest.approx(10)
    assert stored_speed(records, "key", 4, 0, "GPU") == speed
    assert stored_speed(records, "key", 4, 0, "another GPU") is None
    newer = record(records, 6, progress={"tokens": 4_000_000, "actors": 2})
    newest = stored_speed(records, "key", 4, 0)
    assert newest is not None
    assert (newest.run_id, newest.tokens_per_second.value) == (newer, 20_000)


@pytest.mark.ray
def test_on_a_cluster_it_is_measured_where_an_actor_would_be(ray: None):
    from pipeline.cluster.speed_on_cluster import speed_on_cluster

    settings = ["corpus.uris=x", "table.uri=x", "compute.num_cpus=1", "compute.token_budget=1024"]
    job = parse_job("", [f"checkpoint.uri={CHECKPOINT}", *settings])
    scorer = open_scorer(Storage(), job)
    texts = pq.read_table(CORPUS / "test.parquet")["text"].slice(0, 3).to_pylist()
    documents = documents_table([{"id": f"{n}", "position": n, "text": text} for n, text in enumerate(texts)])
    packs = scorer.scoring.packer(scorer.tokenizer).packs("sample", documents)
    speed = speed_on_cluster(job, SpeedTrial(Storage(), scorer.scoring, packs, "cpu", 1, seconds=0.1), print)
    assert speed.device == processor_name()
    # on a busy machine the interval of so short a trial may begin at nothing
    assert 0 <= speed.tokens_per_second.low < speed.tokens_per_second.value < speed.tokens_per_second.high
