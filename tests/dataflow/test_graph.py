"""Units through Ray Data, for real."""

import json
from pathlib import Path

import pytest

from jobs.sample import CHECKPOINT
from pipeline.config import parse_job
from pipeline.dataflow.graph import label_units
from pipeline.dataflow.plan import Plan, make_plan
from pipeline.errors import RetryableError, SourceChangedError, StorageError

pytestmark = pytest.mark.ray


def plan(folder: Path, *overrides: str) -> Plan:
    """Six small files, one unit each."""
    (folder / "corpus").mkdir(exist_ok=True)
    for number in range(6):
        lines = [
            json.dumps({"id": f"{number}-{n}", "text": "a proposal " * (n + 1)}) for n in range(3)
        ]
        (folder / "corpus" / f"{number}.jsonl").write_text("\n".join(lines))
    settings = [
        f"corpus.uris={folder}/corpus",
        f"checkpoint.uri={CHECKPOINT}",
        f"table.uri={folder}/table",
    ]
    return make_plan(
        parse_job("", [*settings, "corpus.id_column=id", "compute.num_cpus=1", *overrides])
    )


def test_waves_cover_every_unit_once(ray: None, tmp_path: Path):
    planned = plan(tmp_path, "units.wave=4")
    done = list(label_units(planned))
    assert sorted(unit.unit for unit in done) == sorted(planned.unit_ids)
    assert {(unit.documents, unit.errors, unit.windows) for unit in done} == {(3, 0, 3)}
    assert planned.fragments.done() == set(planned.unit_ids)


def test_a_file_that_is_replaced_after_planning(ray: None, tmp_path: Path):
    planned = plan(tmp_path)
    (tmp_path / "corpus" / "3.jsonl").write_text('{"id": "new", "text": "other"}\n')
    with pytest.raises(
        SourceChangedError, match=r"3\.jsonl was replaced after this run was planned"
    ):
        list(label_units(planned))


def test_a_checkpoint_that_is_replaced_after_planning(ray: None, tmp_path: Path):
    planned = plan(tmp_path)
    object.__setattr__(planned.scoring, "weights_digest", "of other weights")
    with pytest.raises(RetryableError, match="replaced after this run was planned"):
        list(label_units(planned))


def test_a_table_that_cannot_be_written(ray: None, tmp_path: Path):
    planned = plan(tmp_path)
    (tmp_path / "table").write_text("a file where the table's folder should be")
    with pytest.raises(StorageError, match="the store failed"):
        list(label_units(planned))
