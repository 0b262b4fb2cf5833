"""`rookery evaluate` with the shipped checkpoint on real documents, beside what `rookery label` publishes of them."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from jobs import evaluation_run as run
from jobs.cli import app
from jobs.evaluation_run import run_evaluation
from jobs.label import run_job
from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.evaluate import EvaluationJob
from pipeline.config.label import parse_job
from pipeline.config.loader import parse_settings
from pipeline.errors import CheckpointError, ConfigError, CorpusError, ErrorBudgetError
from pipeline.planning.labelled_scores import Joined
from pipeline.planning.plan import make_plan
from tests.checkpoint_folders import one_output
from tests.evaluation.data import examples
from tests.jobs.test_label import ROOT, rookery, tree
from tests.labelling import label_here

DOCUMENTS = 25  # of each split
BELOW_DUCKDB = 1e-9  # both count; they divide in another order


def settings(folder: Path, *overrides: str) -> list[str]:
    """One table for all: what is measured differently is computed once. 16 tokens are enough to be right and wrong."""
    return [
        f"corpus.uris={folder}/corpus",
        "corpus.id_column=id",
        f"checkpoint.uri={folder}/checkpoint",
        f"table.uri={folder}/table",
        "text.max_tokens=16",
        "text.long_documents=head",
        "compute.dtype=fp32",
        *overrides,
    ]


def evaluation(folder: Path, *overrides: str) -> EvaluationJob:
    own = [
        "corpus.unlabelled=keep",
        "corpus.label_column=label",
        "corpus.split_column=split",
        f"evaluation.output={folder}/out",
    ]
    return parse_settings(EvaluationJob, "", settings(folder, *own, *overrides), "job")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus and a table that `rookery label` has made true; nothing below needs the encoder again."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "corpus").mkdir()
    for split in ("train", "validation", "test"):
        table = pq.read_table(CORPUS / f"{split}.parquet")
        table = table.take(list(range(0, len(table), len(table) // DOCUMENTS))[:DOCUMENTS])
        topics = [[] if label == "rust" else [label] for label in table["label"].to_pylist()]
        table = table.append_column("topics", pa.array(topics, pa.list_(pa.string())))
        table = table.append_column("same", pa.repeat("rust", len(table)))
        pq.write_table(table, folder / "corpus" / f"{split}.parquet")
    shutil.copytree(CHECKPOINT, folder / "checkpoint")
    (folder / "checkpoint" / "rookery.json").unlink()
    label_and_publish(folder)
    return folder


def label_and_publish(folder: Path) -> None:
    label_here(make_plan(parse_job("", settings(folder))))
    run_job(parse_job("", settings(folder)))


@pytest.fixture
def folder(labelled: Path) -> Path:
    """The same, with the checkpoint as it was and without output."""
    (labelled / "checkpoint" / "rookery.json").unlink(missing_ok=True)
    shutil.rmtree(labelled / "out", ignore_errors=True)
    return labelled


def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "metrics.json").read_text())
    return found


def of_the_table(folder: Path, query: str) -> Any:
    """`query` over the newest snapshot `p` joined with the corpus `c`."""
    data = sorted((folder / "table" / "data").iterdir())[-1]
    ((value,),) = duckdb.sql(
        f"SELECT {query} FROM read_parquet('{data}/**/*.parquet') p JOIN read_parquet('{folder}/corpus/*.parquet') c "
        "USING (id) WHERE c.split = 'test'"
    ).fetchall()
    return value


def test_the_figures_are_those_of_the_published_table(folder: Path):
    outcome = run_evaluation(evaluation(folder))
    metrics = figures(folder)["metrics"]
    assert metrics["documents"] == DOCUMENTS
    accuracy = of_the_table(folder, "avg((p.label = c.label)::INT)")
    assert 0.2 < accuracy < 1  # or the test would prove little
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=BELOW_DUCKDB)
    counts = {(c["true"], c["given"]): c["documents"] for c in metrics["confusion"]}
    rows = of_the_table(folder, "list((c.label, p.label))")
    assert counts == {pair: rows.count(pair) for pair in rows}
    assert sum(held["count"] for held in metrics["reliability"]) == DOCUMENTS
    assert outcome.plan.missing == []
    html = (folder / "out" / "report.html").read_text()
    assert f"{accuracy:.3f}" in html
    assert f"{DOCUMENTS} of {DOCUMENTS} documents of the split &#39;test&#39;" in html
    found = figures(folder)
    assert found["documents"] == found["measured"] == DOCUMENTS
    assert (found["training_documents_known"], found["left_out"]) == (True, {})
    assert "Nobody knows" not in html


def test_what_is_fitted_is_stored_and_labels_without_the_encoder(folder: Path):
    job = evaluation(folder)
    before = make_plan(job)
    fragments = tree(folder / "table" / "_units")
    outcome = run_evaluation(job, fitting=True)
    assert outcome.fit is not None
    temperature = outcome.fit.task.temperature
    assert json.loads((folder / "checkpoint" / "rookery.json").read_text()) == {"temperature": temperature}
    after = make_plan(job)
    assert after.scoring.key == before.scoring.key
    assert after.task.key == outcome.task.key != before.task.key
    assert after.missing == []
    assert tree(folder / "table" / "_units") == fragments
    manifest = run_job(parse_job("", settings(folder)))
    assert manifest is not None
    assert manifest.decision_key == outcome.task.key
    score = of_the_table(folder, "avg(p.score)")
    reliability = figures(folder)["metrics"]["reliability"]
    mean = sum(held["mean"] * held["count"] for held in reliability) / DOCUMENTS
    assert mean == pytest.approx(score, abs=BELOW_DUCKDB)


def test_several_labels_each_with_its_fitted_threshold(folder: Path):
    before = {"problem_type": "multi_label", "thresholds": {"rust": 0.25, "swift": 0.25}}
    (folder / "checkpoint" / "rookery.json").write_text(json.dumps(before))
    run_evaluation(evaluation(folder, "corpus.label_column=topics"), fitting=True)
    found = figures(folder)
    stored = json.loads((folder / "checkpoint" / "rookery.json").read_text())
    assert stored["problem_type"] == "multi_label"
    assert stored["thresholds"] == found["fit"]["thresholds"]
    assert stored["temperature"] == found["fit"]["temperature"]
    # rust is on no document: it cannot be fitted, and is told
    assert stored["thresholds"]["rust"] == 0.25 != stored["thresholds"]["swift"]
    assert any(note.endswith("stays as it is: rust (0.25).") for note in found["notes"])
    run_job(parse_job("", settings(folder)))
    wrong = of_the_table(folder, "avg((list_sort(p.labels) <> list_sort(c.topics))::INT)")
    assert found["metrics"]["accuracy"] == pytest.approx(1 - wrong, abs=BELOW_DUCKDB)
    assert found["metrics"]["without_label"] == of_the_table(folder, "count(*) FILTER (len(c.topics) = 0)")
    again = evaluation(folder, "corpus.label_column=topics")
    run_evaluation(again)  # without --fit, the same figures from the checkpoint alone
    assert figures(folder)["metrics"] == found["metrics"]
    assert figures(folder)["fit"] is None


def test_a_split_of_a_single_class_is_refused_and_nothing_is_stored(folder: Path):
    job = evaluation(folder, "corpus.label_column=same")
    with pytest.raises(CorpusError, match=r"split 'validation': all 25 .* have the same label"):
        run_evaluation(job, fitting=True)
    assert not (folder / "checkpoint" / "rookery.json").exists()
    assert not (folder / "out").exists()


def test_a_checkpoint_that_was_replaced_meanwhile_gets_no_thresholds(folder: Path, monkeypatch: pytest.MonkeyPatch):
    config = folder / "checkpoint" / "config.json"
    before = config.read_text()

    def replaced(*_: object) -> None:
        config.write_text(json.dumps(json.loads(before) | {"layer_norm_eps": 1e-6}))

    monkeypatch.setattr(run, "check_checkpoint", replaced)
    try:
        with pytest.raises(CheckpointError, match="replaced after this run was planned"):
            run_evaluation(evaluation(folder), fitting=True)
    finally:
        config.write_text(before)
    assert not (folder / "checkpoint" / "rookery.json").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["corpus.split_column="], "corpus.split_column: missing; --fit needs a validation split"),
        (["evaluation.validation=test"], "evaluation.validation 'test': is evaluation.test too"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_anything_is_computed(
    tmp_path: Path, overrides: list[str], message: str
):
    job = evaluation(tmp_path, f"corpus.uris={CORPUS}", f"checkpoint.uri={CHECKPOINT}", *overrides)
    with pytest.raises(ConfigError, match=message):
        run_evaluation(job, fitting=True)


def test_a_regression_is_not_fitted(tmp_path: Path):
    shutil.copytree(CHECKPOINT, tmp_path / "checkpoint")
    one_output(tmp_path / "checkpoint", "python", "rust", {"problem_type": "regression"})
    with pytest.raises(ConfigError, match="--fit: this checkpoint is a regression"):
        run_evaluation(evaluation(tmp_path, f"corpus.uris={CORPUS}"), fitting=True)


def test_a_binary_checkpoint_is_measured_and_fitted(labelled: Path, tmp_path: Path):
    shutil.copytree(CHECKPOINT, tmp_path / "checkpoint")
    one_output(
        tmp_path / "checkpoint",
        "python",
        "rust",
        {"problem_type": "binary", "labels": ["python", "rust"]},
    )
    (tmp_path / "checkpoint" / "training_documents.parquet").unlink()
    (tmp_path / "corpus").mkdir()
    for file in (labelled / "corpus").iterdir():
        table = pq.read_table(file)
        chosen = pc.is_in(table["label"], pa.array(["python", "rust"]))
        pq.write_table(table.filter(chosen), tmp_path / "corpus" / file.name)
    label_and_publish(tmp_path)
    run_evaluation(evaluation(tmp_path), fitting=True)
    run_job(parse_job("", settings(tmp_path)))
    stored = json.loads((tmp_path / "checkpoint" / "rookery.json").read_text())
    assert stored["thresholds"]["python"] == 1 - stored["thresholds"]["rust"]
    assert not figures(tmp_path)["training_documents_known"]
    assert any("no training_documents.parquet" in note for note in figures(tmp_path)["notes"])
    metrics = figures(tmp_path)["metrics"]
    accuracy = of_the_table(tmp_path, "avg((p.label = c.label)::int)")
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=BELOW_DUCKDB)
    assert {label["label"]: label["given"] for label in metrics["labels"]} == {
        label: of_the_table(tmp_path, f"count(*) filter (p.label = '{label}')") for label in ("python", "rust")
    }


def test_a_checkpoint_in_a_store_is_not_written_to(tmp_path: Path):
    job = evaluation(tmp_path, f"corpus.uris={CORPUS}", "checkpoint.uri=memory://models/rookery")
    memory = fsspec.filesystem("memory")
    memory.put(str(CHECKPOINT), "/models/rookery", recursive=True)
    with pytest.raises(ConfigError, match=r"checkpoint\.uri memory://models/rookery: --fit stores"):
        run_evaluation(job, fitting=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.output=/proc/figures", "evaluation.output /proc/figures: can't be written"),
        ("evaluation.output={}/corpus/out", "evaluation.output .*/corpus/out: lies where corpus.uris"),
        ("table.uri=/proc/table", "table.uri /proc/table: can't be written"),
        ("checkpoint.uri={}/corpus/c", "checkpoint.uri .*/corpus/c: lies where corpus.uris"),
    ],
    ids=["output", "output in the corpus", "table", "checkpoint in the corpus"],
)
def test_what_can_t_be_written_is_found_before_ray_starts(tmp_path: Path, override: str, message: str):
    (tmp_path / "corpus").mkdir()
    pq.write_table(pq.read_table(CORPUS / "test.parquet"), tmp_path / "corpus/a.parquet")
    shutil.copytree(CHECKPOINT, tmp_path / "corpus/c" if "corpus/c" in override else tmp_path / "checkpoint")
    with pytest.raises(ConfigError, match=message):
        run_evaluation(evaluation(tmp_path, override.format(tmp_path)))


@pytest.mark.parametrize(
    ("limit", "failed", "refused"),
    [
        ("90%", 9, False),
        ("1%", 1, True),
        ("2", 2, False),
        ("1", 2, True),
        ("50%", 1, False),
        ("49%", 1, True),
    ],
)
def test_more_failures_than_the_file_allows_are_refused(tmp_path: Path, limit: str, failed: int, refused: bool):
    found = examples(np.zeros((1, 2)), np.eye(2)[:1])
    joined = Joined(found, Counter(null_text=failed))
    with pytest.raises(ErrorBudgetError, match="null_text") if refused else nullcontext():
        run.check_error_budget(evaluation(tmp_path, f"max_errors={limit}"), joined)


def test_the_command_line_names_what_is_wrong(tmp_path: Path):
    job = evaluation(tmp_path, f"corpus.uris={CORPUS}", f"checkpoint.uri={CHECKPOINT}", "evaluation.test=dev")
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job.model_dump(mode="json", exclude_unset=True)))
    failed = rookery("evaluate", "--config", str(path))
    assert failed.returncode == 3
    assert "no document is in the split 'dev'; found 'train' (350)" in failed.stderr
    assert "Traceback" not in failed.stderr
    result = CliRunner().invoke(app, ["evaluate", "--config", str(path), "--set", "evaluation="])
    assert isinstance(result.exception, ConfigError)


@pytest.mark.parametrize(
    "command",
    [
        "label --dry-run --config job",
        "errors --config job",
        "evaluate --config evaluation",
        "evaluate --fit --config evaluation",
        "config --config job",
        "snapshots table",
        "compare table table --rows --html page",
        "sql table --engine duckdb",
        "publish table 1",
        "rollback table 1",
        "vacuum table --delete",
        "erase --dry-run table ids",
        "export table page --format csv --with-text",
        "review export table review.json",
        "version",
    ],
)
def test_a_command_that_computes_no_window_imports_neither_ray_nor_torch(folder: Path, tmp_path: Path, command: str):
    for name, job in {"job": parse_job("", settings(folder)), "evaluation": evaluation(folder)}.items():
        (tmp_path / name).write_text(yaml.safe_dump(job.model_dump(mode="json", exclude_unset=True)))
    program = (
        "import sys; import pipeline.corpus.units as units; from jobs.cli import app; "
        "units.MANY_FILES = 0; "  # a plan that only looks asks them all itself
        "app(sys.argv[1:], standalone_mode=False); "
        "print('heavy:', sorted({'ray', 'torch', 'transformers'} & set(sys.modules)))"
    )
    (tmp_path / "ids").write_text("nobody")
    paths = {name: tmp_path / name for name in ("job", "evaluation", "ids", "page", "review.json")} | {
        "table": folder / "table"
    }
    arguments = [str(paths.get(part, part)) for part in command.split()]
    ended = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "heavy: []"


def test_logits_are_kept_below_the_output_unless_the_file_names_a_table():
    given = ["corpus.uris=a", "corpus.label_column=label", "checkpoint.uri=b", "evaluation.output=out/figures"]
    job = parse_settings(EvaluationJob, "", given, "job")
    assert job.table.uri == "out/figures/table"
    assert parse_settings(EvaluationJob, "", [*given, "table.uri=t"], "job").table.uri == "t"
