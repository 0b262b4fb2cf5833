"""A data set of a hub is labelled: its table is that of the same files on a disk, and says which commit was read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from jobs.labelled_table import corpus_record
from jobs.terminal.descriptions import corpus_notes
from pipeline.config.label import Job
from pipeline.planning.plan import plan_of
from pipeline.planning.survey import make_survey, unchanged_snapshot
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Manifest
from tests.corpus.files import put
from tests.hub import running_hub
from tests.jobs.test_label import job
from tests.labelling import label_here
from tests.storage.test_hub_files import URI, use

LINES = b'{"id": "a", "text": "a proposal on lifetimes"}\n{"id": "b", "text": "minutes of the council"}\n'


def label_without_ray(job: Job) -> tuple[Manifest, list[str]]:
    survey = make_survey(job)
    plan = plan_of(survey)
    label_here(plan)
    record = {"run_id": "here"} | corpus_record(plan.corpus)
    manifest = publish(plan.snapshots, plan.fragments, plan.publication, record)
    LastSurvey(plan.storage, job.table.uri).write(survey.digest, manifest.content)
    return manifest, corpus_notes(plan.corpus)


def predictions(table: Path) -> pa.Table:
    columns = ["id", "label", "score", "content_sha256"]
    return ds.dataset(table / "data", partitioning="hive").to_table(columns=columns).sort_by("id")


def test_a_data_set_of_a_hub_is_labelled_as_its_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "corpus/data/a.jsonl", LINES)
    label_without_ray(job(tmp_path))
    of_hub = job(tmp_path, f"corpus.uris={URI}/data", f"table.uri={tmp_path}/of_hub")
    with running_hub() as hub:
        use(hub, monkeypatch)
        commit = hub.push({"data/a.jsonl": LINES})
        manifest, notes = label_without_ray(of_hub)
        assert manifest.run["corpus_commits"] == {f"{URI}/data": commit}
        assert notes == [f"commit {commit[:8]} of {URI}/data"]
        hub.push({"data/a.jsonl": LINES, "card.md": b"another commit with the same documents"})
        assert unchanged_snapshot(make_survey(of_hub)) == manifest
    assert predictions(tmp_path / "of_hub") == predictions(tmp_path / "table")
