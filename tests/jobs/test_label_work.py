"""What a run does with its cluster, and without one."""

import shutil
from pathlib import Path

import pytest

from jobs import label_work
from jobs.label import run_job
from jobs.label_work import running
from pipeline.config.label import Job
from pipeline.planning.plan import make_plan
from pipeline.tables.heartbeats import Heartbeats
from tests.jobs.corpora import documents, write_every_format
from tests.jobs.test_label import job, job_file, published, rookery
from tests.labelling import label_here


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in which every unit has its fragment, and nothing is published."""
    folder = tmp_path_factory.mktemp("labelled")
    write_every_format(folder / "corpus", documents(10))
    label_here(make_plan(job(folder)))
    return folder


def copy_of(folder: Path, table: Path) -> Job:
    """A job of the same corpus, whose table is a copy."""
    return job(folder, f"table.uri={shutil.copytree(folder / 'table', table)}")


def test_what_only_publishes_little_loads_nothing_large(labelled: Path, tmp_path: Path):
    path = job_file(tmp_path / "job.yaml", copy_of(labelled, tmp_path / "table"))
    run = rookery("label", "--config", path, PYTHONPROFILEIMPORTTIME="1")
    assert "Published" in run.stderr
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert imported & {"torch", "ray", "sklearn", "pyarrow"} == {"pyarrow"}


def test_it_is_alive_meanwhile(labelled: Path):
    plan = make_plan(job(labelled))
    with running([plan]) as (runs, mapped):
        assert mapped is map
        assert Heartbeats(plan.fragments).alive() == {*runs}


@pytest.mark.ray
def test_much_is_published_on_the_cluster_to_the_same_bytes(
    ray: None, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from pipeline.cluster.ray_tasks import map_on_ray

    here, spread = (copy_of(labelled, tmp_path / name) for name in ("here", "spread"))
    run_job(here)
    plan = make_plan(spread)
    sizes = [file.stat().st_size for file in (tmp_path / "spread").glob("_units/**/*.parquet")]
    assert plan.fragment_bytes == sum(sizes) > 0
    monkeypatch.setattr(label_work, "FEW_BYTES", plan.fragment_bytes - 1)
    with running([plan]) as (_, mapped):
        assert mapped is map_on_ray
    run_job(spread)
    assert published(tmp_path / "spread") == published(tmp_path / "here")


@pytest.mark.ray
def test_what_has_to_be_labelled_is_on_the_cluster_too(ray: None, labelled: Path):
    with running([make_plan(job(labelled, "units.text_bytes=5000"))]) as (_, mapped):
        assert mapped is not map
