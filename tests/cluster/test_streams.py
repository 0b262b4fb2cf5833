"""Files that are cut while they are read, through Ray Data: what is done is not done again, and nothing comes twice."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.label import run_job
from jobs.sample import CHECKPOINT
from pipeline.cluster.graph import configure_ray_data
from pipeline.cluster.unit_source import UnitSource
from pipeline.cluster.waves import label_units
from pipeline.config.label import Job, parse_job
from pipeline.corpus.slices import Part
from pipeline.errors import RetryableError
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.shared_reading import SharedPass
from pipeline.tables.publish import publish
from tests.corpus.files import units_of
from tests.labelling import label_here

TEXTS = [f"{number} " + "a proposal " * 20 for number in range(40)]


def job(folder: Path, *overrides: str) -> Job:
    """One CSV file of about seven parts."""
    if not (folder / "a.csv").exists():
        (folder / "a.csv").write_text("\n".join(["text", *TEXTS]))
    settings = [
        f"corpus.uris={folder}/a.csv",
        f"checkpoint.uri={CHECKPOINT}",
        f"table.uri={folder}/table",
        "units.text_bytes=4500",
        "compute.num_cpus=1",
        "compute.dtype=fp32",
    ]
    return parse_job("", [*settings, *overrides])


def numbers(planned: Plan) -> list[int]:
    return [unit.slice.number for unit in planned.units if isinstance(unit.slice, Part)]


def written(planned: Plan) -> dict[str, int]:
    """The fragments, and which files they are: a rewritten one is another."""
    folder = Path(planned.fragments.folder)
    return {path.stem: path.stat().st_ino for path in folder.rglob("*.parquet")}


@pytest.mark.ray
def test_a_stream_is_labelled_and_cut_in_one_reading(ray: None, tmp_path: Path):
    planned = make_plan(job(tmp_path))
    assert (planned.streams, len(planned.units)) == (1, 1)
    with pytest.raises(RetryableError, match="1 of 1 units have no fragment"):
        publish(planned.snapshots, planned.fragments, planned.publication, {})

    done = list(label_units([planned], ["run"], print))
    now = planned.cut_streams()
    assert (now.streams, numbers(now)) == (0, list(range(len(done))))
    assert len(done) > 5
    assert sum(unit.documents for unit in done) == len(TEXTS)
    assert set(now.unit_ids) == {unit.unit for unit in done} == planned.fragments.finished()
    manifest = publish(now.snapshots, now.fragments, now.publication, {})
    assert manifest.counts["predictions"] == len(TEXTS)

    again = make_plan(job(tmp_path))
    assert (list(again.missing), again.publication) == ([], now.publication)
    other = make_plan(job(tmp_path, "text.max_tokens=512"))
    assert [unit for _, unit in other.missing] == list(now.units), "the cut is not the scores'"


@pytest.mark.ray
@pytest.mark.parametrize("cut", [True, False], ids=["parts known", "parts unknown"])
def test_parts_that_are_done_are_not_done_again(ray: None, tmp_path: Path, cut: bool):
    planned = make_plan(job(tmp_path))
    label_here(planned)
    whole = planned.cut_streams()
    undisturbed = {path.stem: path.read_bytes() for path in Path(planned.fragments.folder).rglob("*.parquet")}
    lost = {whole.unit_ids[number] for number in (0, 2, 3, len(whole.units) - 1)}
    for id_ in lost:
        Path(planned.fragments.uri(id_)).unlink()
    kept = written(planned)
    if not cut:
        (name,) = (path for path in Path(planned.stream_lengths.folder).rglob("*") if path.is_file())
        name.unlink()

    resumed = make_plan(job(tmp_path))
    assert resumed.streams == (0 if cut else 1)
    done = list(label_units([resumed], ["run"], print))
    assert {unit.unit for unit in done} == lost
    now = written(planned)
    assert {id_: now[id_] for id_ in kept} == kept
    assert {path.stem: path.read_bytes() for path in Path(planned.fragments.folder).rglob("*.parquet")} == undisturbed
    assert resumed.cut_streams().units == whole.units


@pytest.mark.ray
def test_a_limit_takes_the_first_documents_of_a_stream(ray: None, tmp_path: Path):
    planned = make_plan(job(tmp_path), limit=15)
    assert numbers(planned) == [0, 1, 2]
    manifest = run_job(job(tmp_path), limit=15)
    assert manifest is not None
    assert (manifest.partial, manifest.counts["documents"]) == (True, 15)
    full = make_plan(job(tmp_path))
    assert full.streams == 1, "a stream that was not read to its end is not cut"


@pytest.mark.ray
def test_a_worker_that_dies_in_the_middle_of_a_stream_costs_no_block_and_doubles_none(ray: None, tmp_path: Path):
    """Ray reads again from the beginning and tells the blocks by their number."""
    import ray as ray_

    (tmp_path / "a.csv").write_text("text\n")
    died = str(tmp_path / "died")

    def read(_: SharedPass) -> Iterator[Any]:
        for number in range(12):
            if number == 7 and not os.path.exists(died):  # noqa: PTH110
                open(died, "w").close()  # noqa: PTH123
                os.kill(os.getpid(), signal.SIGKILL)
            yield pa.table({"number": [number]})

    configure_ray_data()
    source = UnitSource([SharedPass(tuple(units_of(tmp_path / "a.csv")), ())], read)
    rows = ray_.data.read_datasource(source, override_num_blocks=1).iter_rows()
    assert [row["number"] for row in rows] == list(range(12))
    assert os.path.exists(died)  # noqa: PTH110
