"""Units through Ray Data, for real."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT
from pipeline.cluster.ray_tasks import map_on_ray
from pipeline.cluster.waiting import STAGES, waiting_for
from pipeline.cluster.waves import label_units
from pipeline.config.label import parse_job
from pipeline.errors import ConfigError, RetryableError, SourceChangedError, StorageError
from pipeline.planning.plan import Plan, make_plan
from pipeline.tables.attempts import Attempts

pytestmark = pytest.mark.ray


def plan(folder: Path, *overrides: str) -> Plan:
    """Six small files, one unit each."""
    (folder / "corpus").mkdir(exist_ok=True)
    for number in range(6):
        lines = [json.dumps({"id": f"{number}-{n}", "text": "a proposal " * (n + 1)}) for n in range(3)]
        (folder / "corpus" / f"{number}.jsonl").write_text("\n".join(lines))
    settings = [
        f"corpus.uris={folder}/corpus",
        f"checkpoint.uri={CHECKPOINT}",
        f"table.uri={folder}/table",
    ]
    return make_plan(parse_job("", [*settings, "corpus.id_column=id", "compute.num_cpus=1", *overrides]))


def test_waves_cover_every_unit_once(ray: None, tmp_path: Path):
    planned = plan(tmp_path, "units.wave=4")
    done = list(label_units([planned], ["run"], print))
    assert sorted(unit.unit for unit in done) == sorted(planned.unit_ids)
    assert {(unit.documents, unit.errors, unit.windows) for unit in done} == {(3, 0, 3)}
    assert planned.fragments.finished() == set(planned.unit_ids)


def test_a_file_that_is_replaced_after_planning(ray: None, tmp_path: Path):
    planned = plan(tmp_path)
    (tmp_path / "corpus" / "3.jsonl").write_text('{"id": "new", "text": "other"}\n')
    with pytest.raises(SourceChangedError, match=r"3\.jsonl was replaced after this run was planned"):
        list(label_units([planned], ["run"], print))


def test_a_checkpoint_that_is_replaced_after_planning(ray: None, tmp_path: Path):
    planned = plan(tmp_path)
    object.__setattr__(planned.scoring, "weights_digest", "of other weights")
    with pytest.raises(RetryableError, match="replaced after this run was planned"):
        list(label_units([planned], ["run"], print))


def test_a_table_that_cannot_be_written(ray: None, tmp_path: Path):
    planned = plan(tmp_path)
    (tmp_path / "table").write_text("a file where the table's folder should be")
    with pytest.raises(StorageError, match="the store failed"):
        list(label_units([planned], ["run"], print))


def test_what_the_cluster_can_never_serve_ends_before_the_first_unit(ray: None, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"needs 1 encoder actor of 1 CPU and 1 GPU .* 0 GPUs"):
        list(label_units([plan(tmp_path, "compute.num_gpus=1")], ["run"], print))


def test_what_it_waits_for_names_the_units_at_work(ray: None, tmp_path: Path):
    planned = plan(tmp_path)
    assert "readers wait for a core" in waiting_for([planned])
    for stage in ("read", "predict"):
        with Attempts(planned.fragments, stage).attempt(planned.unit_ids[0], "12,345 tokens"):
            told = waiting_for([planned])
        assert f"0.jsonl is being {STAGES[stage]} (12,345 tokens)" in told
        assert told.startswith(("no encoder actor is placed yet", "0 encoder actors"))


def test_footers_of_many_files_are_read_by_tasks(ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(5):
        pq.write_table(pa.table({"text": ["a proposal"]}), tmp_path / f"{number}.parquet")
    monkeypatch.setattr("pipeline.corpus.units.MANY_FILES", 4)
    monkeypatch.setattr("pipeline.corpus.units.TOGETHER", 2)
    job = parse_job("", [f"corpus.uris={tmp_path}/*", f"checkpoint.uri={CHECKPOINT}", f"table.uri={tmp_path}/t"])
    assert make_plan(job, mapped=map_on_ray).unit_ids == make_plan(job).unit_ids
