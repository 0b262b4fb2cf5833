"""The report of a run: its figures against DuckDB's, its words, and what Chromium makes of the page."""

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import (
    BigBirdForQuestionAnswering,
    BigBirdForSequenceClassification,
    BigBirdForTokenClassification,
    BigBirdModel,
)
from typer.testing import CliRunner

from jobs.cli import app
from jobs.run_report_page import run_report_page
from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.label import Job
from pipeline.errors import BudgetSpentError, ErrorBudgetError, StorageError
from pipeline.runs.least_sure import least_sure_documents
from pipeline.runs.run_findings import RunFindings
from pipeline.runs.run_history import located
from pipeline.storage.objects import Storage
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.snapshots import Snapshots
from tests.browser import Browser, browser
from tests.evaluation.test_html_report import Page
from tests.jobs import test_tasks
from tests.jobs.reporting import ReportedRun, run_here
from tests.jobs.test_label import job

ATTACK = "<script>alert('1')</script>"
BIDI = "\u202eevil"
LETTERS = 1200  # of each document
CONTRAST = Path(__file__).with_name("contrast.js").read_text()


class Nights:
    """Two runs on one table: in the second one text is missing, two documents are new and one is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = pq.read_table(CORPUS / "test.parquet", columns=["id", "text"]).slice(1, 16).to_pylist()
        self.rows[3]["id"], self.rows[4]["id"], self.rows[5]["id"] = ATTACK, BIDI, "a long id " + "x" * 200
        (folder / "corpus").mkdir()
        bad = shutil.copytree(CHECKPOINT, folder / "renamed")
        config = json.loads((bad / "config.json").read_text())
        names = dict(zip(config["id2label"], [ATTACK, BIDI, *[*config["id2label"].values()][2:]], strict=True))
        config |= {"id2label": names, "label2id": {name: int(number) for number, name in names.items()}}
        (bad / "config.json").write_text(json.dumps(config))
        settings = json.loads((bad / "rookery.json").read_text())
        settings.pop("labels", None)
        (bad / "rookery.json").write_text(json.dumps(settings))
        self.first = self.night(self.rows[:14])
        self.second = self.night([*self.rows[1:], {"id": "no text", "text": None}])

    def job(self, *settings: str) -> Job:
        known = [f"checkpoint.uri={self.folder}/renamed", "max_errors=100%", "price=2", "units.text_bytes=4000"]
        return job(self.folder, *known, *settings)

    def night(self, rows: list[dict[str, Any]], *settings: str, **values: Any) -> ReportedRun:
        cut = pa.Table.from_pylist([row | {"text": row["text"] and row["text"][:LETTERS]} for row in rows])
        pq.write_table(cut, self.folder / "corpus" / "a <b>'&.parquet", row_group_size=4)
        return run_here(self.job(*settings), **values)

    def findings(self) -> RunFindings:
        snapshots, run = Snapshots(Storage(), f"{self.folder}/table"), self.second
        manifest = snapshots.read(2)
        return RunFindings(
            run.record,
            run.work,
            manifest,
            snapshots.read(1),
            least_sure_documents(snapshots, manifest),
            located(run.work.slowest, run.plan),
        )

    def asked(self, query: str, snapshot: int = 2) -> list[Any]:
        rows = f"read_parquet('{self.folder}/table/data/snapshot={snapshot:020d}/**/*.parquet')"
        answer: list[Any] = duckdb.sql(query.format(rows=rows)).fetchall()
        return answer


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    return Nights(tmp_path_factory.mktemp("nights"))


def test_labels_are_duckdb_s_counts(nights: Nights):
    query = "select label, count(*), count(*) / sum(count(*)) over () from {rows} group by label"
    now, before = ({row[0]: row[1:] for row in nights.asked(query, snapshot)} for snapshot in (2, 1))
    shares = nights.findings().labels
    assert {share.label: (share.documents, share.share) for share in shares if share.documents} == now
    assert {share.label: share.before for share in shares if share.before} == {
        name: of[1] for name, of in before.items()
    }
    assert [share.documents for share in shares] == sorted((share.documents for share in shares), reverse=True)


def test_scores_and_least_sure_documents_are_duckdb_s(nights: Nights):
    together, *each = nights.findings().scores
    rows = nights.asked("select label, least(floor(score * 10), 9)::int, count(*) from {rows} group by all")
    assert {(of.label, bin_, n) for of in each for bin_, n in enumerate(of.bins) if n} == {*rows}
    assert sum(together.bins) == 15
    assert sum(together.before) == 14
    least = nights.findings().least_sure
    assert least is not None
    expected = nights.asked("select id, label, score, margin from {rows} order by margin, id limit 12")
    assert [(d.id, d.labels[0], d.score, d.margin) for d in least.documents] == expected
    assert least.rows == 15


def test_lengths_and_times_are_those_of_the_units(nights: Nights):
    query = "select length(bin(n_tokens)), count(*) from {rows} group by 1"
    run = nights.first
    findings = RunFindings(run.record, run.work)
    assert {of.high.bit_length(): of.documents for of in findings.lengths if of.documents} == dict(
        nights.asked(query, 1)
    )
    assert sum(seconds for _, seconds in findings.stages) == pytest.approx(run.work.stage_seconds.total())
    units = nights.findings().slowest
    assert {unit.uri for unit in units} == {f"file://{nights.folder}/corpus/a <b>'&.parquet"}
    assert all(unit.done.encode_s > 0 for unit in units)


def test_the_page_tells_all_of_it_and_no_id_is_markup(nights: Nights):
    text = nights.second.page.read_text()
    page = Page(text)
    assert page.open == []
    assert "<script" not in text
    assert not {"script", "link", "img", "iframe"} & {*page.names}
    assert not re.search(r"https?:|url\(|@import", text)
    for shown in (
        "Published",
        "16",
        "15 predictions, 1 error",
        "null_text",
        "1 removed",
        "3 added",
        "reading files from the store",
        "a <b>'&.parquet",
        nights.second.record.run_id,
        "$2 an actor-hour",
    ):
        assert shown in page.text, shown
    least = nights.findings().least_sure
    assert least is not None
    for document in least.documents:
        assert f"<td><bdi>{html.escape(document.id).replace('&#x27;', '&#39;')}</bdi></td>" in text
    assert nights.rows[7]["text"][:40] not in page.text, "no text of a document"


def test_an_estimate_is_shown_beside_what_came_of_it(nights: Nights):
    tokens = (nights.second.record.progress or {})["tokens"]
    estimate = {"tokens": {"value": tokens * 1.25, "low": 1, "high": tokens * 2}, "usd": 5, "units": {"value": 99}}
    record = nights.second.record.model_copy(update={"estimate": estimate})
    page = run_report_page(RunFindings(record), {})
    expected = {each.name: (each.deviation, each.is_within) for each in RunFindings(record).expectations}
    assert expected["tokens"][0] == pytest.approx(-0.2)
    assert expected["tokens"][1] is True
    assert expected["usd"][1] is None
    assert "-20.0%" in page
    assert "Estimate against actual" in page
    assert "Estimate against actual" not in nights.second.page.read_text()


def test_runs_that_publish_nothing_are_reported(nights: Nights, tmp_path: Path):
    others = Nights.__new__(Nights)
    others.folder = tmp_path
    shutil.copytree(nights.folder, tmp_path, dirs_exist_ok=True)
    spent = others.night(nights.rows[2:], error=BudgetSpentError(f"budget.tokens 1: {ATTACK}"))
    assert "Budget spent" in Page(spent.page.read_text()).text
    assert f"budget.tokens 1: {ATTACK}" in Page(spent.page.read_text()).text
    failed = others.night(nights.rows[2:], error=ErrorBudgetError("too many"))
    assert "too many" in Page(failed.page.read_text()).text
    gates = ["gates.min_agreement=100%", "gates.min_documents=5", "gates.max_share_change=0%"]
    held = others.night(nights.rows[6:], *gates)
    assert (held.record.outcome, held.record.snapshot, held.record.documents) == ("held_back", 3, 10)
    text = Page(held.page.read_text()).text
    assert "candidate 3" in text
    assert "✕ broken" in text
    assert json.loads(held.page.with_name("summary.json").read_text())["report"] == str(held.page)


def test_a_report_that_can_t_be_written_keeps_no_run_from_its_end(
    nights: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    put = Storage.put

    def failing(storage: Storage, uri: str, data: bytes) -> None:
        if uri.endswith("report.html"):
            raise StorageError(f"{uri}: no space left")
        put(storage, uri, data)

    monkeypatch.setattr(Storage, "put", failing)
    shutil.copytree(nights.folder, tmp_path, dirs_exist_ok=True)
    others = Nights.__new__(Nights)
    others.folder = tmp_path
    run = others.night(nights.rows[2:])
    assert (run.record.outcome, run.record.report) == ("published", None)
    assert "the run's report can't be written: " in " ".join(capsys.readouterr().err.split())


def test_erased_ids_leave_reports_and_come_into_none(nights: Nights, tmp_path: Path):
    shutil.copytree(nights.folder, tmp_path, dirs_exist_ok=True)
    least = nights.findings().least_sure
    assert least is not None
    gone = [document.id for document in least.documents[:3]]
    (tmp_path / "ids").write_text("\n".join(gone))
    ended = CliRunner(env={"COLUMNS": "150"}).invoke(app, ["erase", f"{tmp_path}/table", f"{tmp_path}/ids"])
    assert ended.exit_code == 0, ended.output
    assert "records of runs" in ended.output
    page = Page((tmp_path / "table/_runs" / nights.second.page.parent.name / "report.html").read_text())
    assert page.open == []
    assert page.text.count("(erased)") >= 3
    assert not [id_ for id_ in gone if id_ in page.text]
    assert least.documents[4].id in page.text
    others = Nights.__new__(Nights)
    others.folder = tmp_path
    meanwhile = others.night(nights.rows[3:], meanwhile=lambda: Erasures(Storage(), f"{tmp_path}/table").begin(["y"]))
    assert (meanwhile.record.outcome, meanwhile.record.report) == ("published", None)
    assert not (tmp_path / "table/_runs" / meanwhile.record.run_id / "report.html").exists()


@pytest.mark.parametrize(
    ("model", "settings", "shown", "left_out"),
    [
        (BigBirdForQuestionAnswering, ["task.questions=['Which bird is it?']"], ["Lengths"], ["Least sure"]),
        (BigBirdForTokenClassification, [], ["Labels", "Scores"], ["Least sure"]),
        (BigBirdModel, [], ["Lengths"], ["Labels", "Scores", "Least sure"]),
        (BigBirdForSequenceClassification, [], ["Labels", "Scores", "Least sure", "jackdaw"], []),
        (BigBirdForSequenceClassification, None, ["Lengths"], ["Labels", "Scores", "Least sure"]),
    ],
    ids=["questions", "entities", "embedding", "several labels", "regression"],
)
def test_every_task_has_a_report(
    tmp_path: Path, model: Any, settings: list[str] | None, shown: list[str], left_out: list[str]
):
    several = {"problem_type": "multi_label", "labels": ["rook", "jackdaw", "another one"]}
    rookery = several if "jackdaw" in shown else None
    config = {"id2label": {0: "price"}} if settings is None else {}
    test_tasks.checkpoint(tmp_path, model, rookery, **config)
    run = run_here(test_tasks.job(tmp_path, *(settings or [])))
    page = Page(run.page.read_text())
    assert page.open == []
    headings = re.findall("<h2>(.*?)</h2>", run.page.read_text())
    assert [each for each in shown if each not in headings and each not in page.text] == []
    assert [each for each in left_out if each in headings] == []


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


OVERFLOWING = """[...document.querySelectorAll("body, body *")].filter(e => !(e instanceof SVGElement)
  && getComputedStyle(e).display != "inline" && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 99))"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_legible_and_asks_for_nothing(nights: Nights, chromium: Browser, width: int, dark: bool):
    chromium.requests.clear()
    chromium.open(nights.second.page, width=width, dark=dark)
    assert chromium.requests == [nights.second.page.as_uri()]
    assert chromium.complaints == []
    assert chromium.value("document.documentElement.scrollWidth") == width
    assert chromium.value(OVERFLOWING) == []
    assert chromium.value("getComputedStyle(document.body).backgroundColor == 'rgb(251, 250, 247)'") is not dark
    contrasts = chromium.value(CONTRAST)
    assert len(contrasts) > 100
    assert [each for each in contrasts if each[0] < 4.5] == []
    charts = chromium.value("[...document.querySelectorAll('svg')].map(e => [e.clientHeight, e.ariaLabel])")
    assert len(charts) >= 5
    assert all(height > 10 and label for height, label in charts)


def test_its_policy_lets_no_request_through(nights: Nights, chromium: Browser):
    chromium.open(nights.second.page, width=800)
    chromium.value("document.body.appendChild(new Image()).src = 'http://192.0.2.1/x.png'")
    assert chromium.value("new Promise(done => setTimeout(() => done(1), 100)) && 1") == 1
    assert "Content Security Policy" in "".join(chromium.complaints)
    chromium.complaints.clear()


def test_it_prints(nights: Nights, chromium: Browser):
    chromium.open(nights.second.page, width=1280, dark=True, media="print")
    assert chromium.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.pdf().startswith(b"%PDF")
