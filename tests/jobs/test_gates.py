"""A bad checkpoint's night, and what the next ones make of it: gates, `rookery publish`, `rookery compare`."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.label import run_job
from jobs.sample import CHECKPOINT
from pipeline.config.label import Job
from pipeline.errors import ConfigError, ConflictError, CorpusError, HeldBackError
from pipeline.planning.gatekeeper import Gatekeeper
from pipeline.planning.plan import make_plan
from pipeline.planning.survey import make_survey
from pipeline.storage.objects import Storage
from pipeline.tables.candidates import CandidateSnapshots
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tables.verdicts import verdicts_of
from tests.jobs.corpora import documents, write_every_format
from tests.jobs.test_label import job, tree
from tests.jobs.test_rollback import shown
from tests.labelling import label_here

GATES = ("gates.min_agreement=90%", "gates.min_documents=5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus, and a checkpoint whose threshold takes most labels away: its scores are those of the sample."""
    write_every_format(tmp_path / "corpus", documents(12))
    bad = shutil.copytree(CHECKPOINT, tmp_path / "bad")
    settings = json.loads((bad / "rookery.json").read_text())
    labels = json.loads((bad / "config.json").read_text())["id2label"].values()
    (bad / "rookery.json").write_text(
        json.dumps(settings | {"temperature": 9.0, "thresholds": dict.fromkeys(labels, 0.9)})
    )
    return tmp_path


def labelled(settings: Job) -> Manifest:
    """What `rookery label` does, without Ray."""
    plan = make_plan(settings)
    gatekeeper = Gatekeeper(make_survey(settings))
    gatekeeper.check()
    label_here(plan)
    plan = plan.cut_streams()
    return publish(plan.snapshots, plan.fragments, plan.publication, {"run_id": "here"}, judged=gatekeeper)


def gold(folder: Path, *, is_right: bool) -> list[str]:
    """A gold corpus of what the sample checkpoint says, or of what it doesn't."""
    rows = pq.read_table(folder / "table" / "data").to_pylist()
    given = [row["label"] for row in rows]
    names = sorted(set(given))
    labels = given if is_right else [names[names.index(label) - 1] for label in given]
    columns = {"id": [row["id"] for row in rows], "text": ["a text"] * len(rows), "label": labels}
    path = folder / f"gold-{is_right}.parquet"
    pq.write_table(pa.table(columns), path)
    return [
        f"gates.gold.uris={path}",
        "gates.gold.id_column=id",
        "gates.gold.label_column=label",
        "gates.min_gold_macro_f1=0.9",
        "gates.min_gold_documents=5",
    ]


@pytest.mark.ray
def test_the_nights_of_a_bad_checkpoint(ray: None, folder: Path):
    good, bad = job(folder, *GATES), job(folder, f"checkpoint.uri={folder / 'bad'}", *GATES)
    label_here(make_plan(good))
    first = run_job(good)
    assert first is not None
    assert "gates" in first.run  # nothing to compare with, and nothing held back
    table = folder / "table"
    with pytest.raises(HeldBackError) as night:
        run_job(bad)
    message = str(night.value)
    assert "candidate 2 is held back, for it breaks 1 of the job's gates:\n  agreement " in message
    assert f"rookery compare {table}@1 {table}@candidate-2" in message
    assert f"rookery publish {table} 2" in message

    held = tree(table)
    with pytest.raises(HeldBackError) as again:
        run_job(bad)
    assert str(again.value) == message
    (table / "_last_survey.json").unlink()  # then the plan finds it
    with pytest.raises(HeldBackError) as planned:
        run_job(bad)
    assert str(planned.value) == message
    assert tree(table) == held
    assert run_job(bad, dry_run=True) is None
    assert run_job(good) == first

    loose = run_job(job(folder, f"checkpoint.uri={folder / 'bad'}", "gates.min_agreement=0%", "gates.min_documents=5"))
    assert loose is not None
    assert (loose.snapshot, loose.parent) == (2, 1)
    assert {verdict.outcome for verdict in verdicts_of(loose.run)} == {"kept", "told"}
    assert {*held} - {*tree(table)} == {f"_candidates/{2:020d}.json"}
    assert run_job(bad) == loose  # it is current: no gate is asked


def test_lists_show_it_apart_and_publish_lets_exactly_it_through(folder: Path):
    table, name = folder / "table", str(folder / "table")
    labelled(job(folder, *GATES))
    with pytest.raises(HeldBackError):
        labelled(job(folder, f"checkpoint.uri={folder / 'bad'}", *GATES))
    listed = shown("snapshots", name)
    snapshots, _, candidates = listed.partition("Held back by gates, unpublished:")
    assert " newest" in snapshots
    assert "candidate 2: , bad " in candidates
    assert "in both snapshots; gates.min_agreement allows at least 90.00%" in candidates
    with pytest.raises(ConfigError, match=r"has no snapshot 2; it has 1: "):
        shown("rollback", name, "2")
    with pytest.raises(ConfigError, match="has no snapshot 2; it has 1: "):
        shown("compare", name, f"{name}@2")
    assert "after " in shown("compare", name, f"{name}@candidate-2")
    with pytest.raises(ConfigError, match="has no candidate 1; it has 2"):
        shown("compare", name, f"{name}@candidate-1")

    assert "Snapshot 2, which gates held back: " in shown("publish", name, "2")
    latest = Snapshots(Storage(), name).latest()
    assert latest is not None
    assert (latest.snapshot, latest.run["let_through"]["by"]) == (2, "rookery publish")
    after = tree(table)
    assert shown("publish", name, "2") == "Nothing to do: snapshot 2 is published."
    assert tree(table) == after
    assert "Held back" not in shown("snapshots", name)


def test_over_another_parent_publish_refuses(folder: Path):
    labelled(job(folder, *GATES))
    with pytest.raises(HeldBackError):
        labelled(job(folder, f"checkpoint.uri={folder / 'bad'}", *GATES))
    shutil.rmtree(folder / "corpus" / next(iter(sorted(path.name for path in (folder / "corpus").iterdir()))))
    third = labelled(job(folder, *GATES))
    assert (third.snapshot, third.parent) == (3, 1)
    with pytest.raises(ConflictError, match="judged against snapshot 1, and the current one is snapshot 3"):
        shown("publish", str(folder / "table"), "2")
    assert "judged against what is no longer current" in shown("snapshots", str(folder / "table"))


def test_a_gold_corpus_judges_the_first_snapshot_too(folder: Path):
    labelled(job(folder))
    right, wrong = gold(folder, is_right=True), gold(folder, is_right=False)
    shutil.move(folder / "table", folder / "other")
    with pytest.raises(HeldBackError, match=r"macro F1 0\.\d+ on \d+ documents of the gold corpus; gates.min_gold_mac"):
        labelled(job(folder, *wrong))
    candidates = CandidateSnapshots(Snapshots(Storage(), str(folder / "table")))
    assert [(one.snapshot, one.parent) for one in candidates.all()] == [(1, None)]
    gatekeeper = Gatekeeper(make_survey(job(folder, *right)))
    candidate = gatekeeper.unchanged_candidate()
    assert candidate is not None
    published = gatekeeper.let_through(candidate, {})
    (verdict,) = verdicts_of(published.run)
    assert (verdict.gate, verdict.figure, verdict.outcome) == ("min_gold_macro_f1", 1.0, "kept")


def test_a_gate_that_could_not_judge_is_refused_before_anything_is_computed(folder: Path):
    labelled(job(folder))
    (path,) = (folder / "table" / "_snapshots").glob("*.json")
    manifest = json.loads(path.read_text())
    manifest["columns"] = [column for column in manifest["columns"] if column["name"] != "label"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="gates: snapshot 1, the current one, has 'no labels' where this job would"):
        Gatekeeper(make_survey(job(folder, *GATES))).check()
    Gatekeeper(make_survey(job(folder))).check()
    Gatekeeper(make_survey(job(folder, *GATES), limit=3)).check()
    missing = ("gates.gold.uris=nowhere.parquet", "gates.gold.label_column=x", "gates.min_gold_macro_f1=1")
    path.unlink()
    with pytest.raises(CorpusError, match=r"^gates\.gold: "):
        Gatekeeper(make_survey(job(folder, *missing))).check()
