"""A month of nights, shortened and without Ray: each must end as a labelling from scratch. The whole is the command."""

import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from jobs.labelled_table import run_record, work_record
from jobs.measure.month.living_corpus import Document, LivingCorpus
from jobs.measure.month.nightly import Month
from jobs.measure.month.nights import Night, a_month
from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.label import Job
from pipeline.planning.gatekeeper import Gatekeeper
from pipeline.planning.plan import plan_of
from pipeline.planning.survey import make_survey
from pipeline.runs.progress import LabelledWork
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Manifest
from tests.labelling import label_here
from tests.tables.test_erasure import holding

LONGEST = 600  # characters of a text: it is the protocol that is tried
APART = ("crash", "two at once")  # in processes of their own: see tests/faults


def make_true(job: Job) -> Manifest:
    """What `rookery label` does, in this process."""
    survey = make_survey(job)
    plan = plan_of(survey)
    plan.sweep()
    work = LabelledWork()
    for done in label_here(plan):
        work.documents += done.documents
        work.taken_over += done.taken_over
        work.tokens += done.tokens
    plan = plan.cut_streams()
    run = run_record(job, plan.publication.content, 0.0) | work_record(work)
    return publish(plan.snapshots, plan.fragments, plan.publication, run, judged=Gatekeeper(survey))


def documents() -> list[Document]:
    rows = pq.read_table(CORPUS / "test.parquet", columns=["id", "text"]).to_pylist()
    return [Document(row["id"], row["text"][:LONGEST]) for row in rows]


def test_every_night_ends_as_from_scratch(tmp_path: Path):
    nights = [night for night in a_month(24) if night.happening not in APART]
    checkpoint = Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))
    living = LivingCorpus(tmp_path / "corpus", iter(documents()), random.Random(0))
    gates = ("gates.min_agreement=60%", "gates.min_documents=5")
    run = Month(tmp_path, living, checkpoint, make_true, gates)
    outcomes = list(run.run(nights))
    assert [outcome.night.what for outcome in outcomes if not outcome.right] == []
    computed = {outcome.night.what: outcome.computed for outcome in outcomes}
    assert computed["all new"] == 24
    for what in (
        "nothing changed",
        "compacted upstream",
        "renamed",
        "shuffled into other files",
        "another temperature",
    ):
        assert computed[what] == 0, what
    assert [outcome.computed for outcome in outcomes if outcome.night.what == "1 % edited"] == [1] * _edits(nights)
    assert len(run.erased) == 2
    assert holding(tmp_path / "table", *run.erased) == set()  # with an index, candidates and a vacuum
    (new,) = (outcome for outcome in outcomes if outcome.night.what == "a new checkpoint")
    assert new.computed == new.documents


def _edits(nights: list[Night]) -> int:
    return sum(night.what == "1 % edited" for night in nights)
