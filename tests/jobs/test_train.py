"""`rookery train` on Ray: several workers, a killed run, and what labelling makes of the result."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.dataset as ds
import pytest
import torch
import yaml

from jobs.evaluation_run import run_evaluation
from jobs.label import run_job as run_label
from jobs.terminal import train_output
from jobs.train import run_training
from pipeline.config.evaluate import EvaluationJob
from pipeline.config.label import parse_job
from pipeline.config.loader import parse_settings
from pipeline.config.train import TrainJob
from pipeline.errors import ConfigError, CorpusError
from pipeline.processes import family
from pipeline.training.prepare import job_digest, prepare
from tests.processes import LOOPBACK, listening_addresses
from tests.training.corpora import job, train, weights, write

pytestmark = pytest.mark.ray
WAIT_S = 120  # for a process to come so far, on a busy machine


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "birds.jsonl", 24)


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one worker makes, undisturbed and without Ray."""
    output = tmp_path_factory.mktemp("trained") / "model"
    train(training_job(corpus, output))
    return output


def training_job(corpus: Path, output: Path, workers: int = 1, state_every_s: float = 60.0) -> TrainJob:
    return job(
        corpus,
        output,
        training={"epochs": 2, "hidden_tokens": 0.1, "clip_norm": 1e6},
        compute={"workers": workers},
        output={"state_every_s": state_every_s},
    )


def test_two_workers_make_the_same_steps_and_listen_on_loopback(
    ray: None, trained: Path, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    heard: set[str] = set()
    met: list[Path] = []
    ended = threading.Event()

    def listen() -> None:
        while not ended.wait(0.3):
            heard.update(listening_addresses(family(os.getpid())))
            met.extend((tmp_path / "model.work").glob("rendezvous-*"))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        run_training(training_job(corpus, tmp_path / "model", workers=2))
    finally:
        ended.set()
        listener.join()
    assert met
    assert heard
    assert heard <= LOOPBACK
    shown = capfd.readouterr().out
    assert "tokens/s" in shown
    assert "validation loss" in shown
    one, two = weights(trained), weights(tmp_path / "model")
    for name, expected in one.items():
        # fp32 sums, mostly of two packs, which are the same in either order: worst seen 0
        torch.testing.assert_close(two[name], expected, atol=1e-4, rtol=0)


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    ray: None, trained: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made = training_job(corpus, tmp_path / "model", state_every_s=1e-6)
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(made.model_dump(mode="json", exclude_unset=True)))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.train", "--config", str(config)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = tmp_path / "model.work" / "states" / "training" / "state.pt"
    deadline = time.monotonic() + WAIT_S
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in reversed(family(process.pid)):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert state.exists()
    assert run_training(made) is not None
    shown = capsys.readouterr().out
    assert re.search(r"going on    with what an earlier run read .* ago: .*model\.work\n", shown)
    assert re.search(
        r"training  (going on from|was ended .* after) step \d+ \(epoch [12] of 2, [\d,]+ tokens\), saved \d+ s ago",
        shown,
    )
    expected, found = weights(trained), weights(tmp_path / "model")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_labelling_and_evaluating_take_the_folder_as_it_is(
    ray: None, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    model, table = tmp_path / "model", tmp_path / "table"
    train(job(corpus, model, corpus={"split_column": None}, training={"epochs": 8}))
    manifest = run_label(
        parse_job(
            "",
            [
                f"corpus.uris={corpus}",
                "corpus.id_column=id",
                f"checkpoint.uri={model}",
                f"table.uri={table}",
                "compute.num_cpus=1",
                "compute.dtype=fp32",
            ],
        )
    )
    assert manifest is not None
    rows = ds.dataset(table / "data", format="parquet").to_table().to_pylist()
    assert len(rows) == 24
    right = [row["label"] == ("rook", "tern")[int(row["id"]) % 2] for row in rows]
    assert sum(right) >= 22
    evaluating_leaves_out_what_it_was_trained_on(corpus, tmp_path, capsys)


def evaluating_leaves_out_what_it_was_trained_on(
    corpus: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same documents in another file, format, order and under other ids; then beside twice as many."""
    known = [json.loads(line) for line in corpus.read_text().splitlines()]
    renamed = [record | {"id": f"again-{record['id']}"} for record in reversed(known)]
    (folder / "corpus").mkdir()
    (folder / "corpus" / "a.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps(record) + "\n" for record in renamed).encode())
    )
    settings = [
        f"corpus.uris={folder}/corpus",
        "corpus.id_column=id",
        "corpus.label_column=label",
        "corpus.unlabelled=skip",
        f"checkpoint.uri={folder}/model",
        f"evaluation.output={folder}/out",
        "compute.num_cpus=1",
        "compute.dtype=fp32",
        "max_errors=10%",
    ]
    made = parse_settings(EvaluationJob, "", settings, "job")
    with pytest.raises(CorpusError, match="the corpus: all 24 documents with a label are left out: trained on"):
        run_evaluation(made)
    assert not (folder / "out").exists()
    more = write(folder / "more.jsonl", 60)
    records = [json.loads(line) for line in more.read_text().splitlines()]
    records[30]["label"] = None
    records[31]["text"] = None
    lines = [json.dumps(record) for record in records] + [
        '{"id": "60", "text": 1, "label": "rook"}',
        "{",
    ]
    (folder / "corpus" / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    capsys.readouterr()
    run_evaluation(made)

    texts = {record["text"] for record in known}
    new = [record for record in records if record["text"] not in texts]
    assert len(new) == 36
    found = json.loads((folder / "out" / "metrics.json").read_text())
    assert found["documents"] == 24 + 60 + 2
    assert found["measured"] == found["metrics"]["documents"] == len(new) - 2
    assert sum(found["left_out"].values()) == 24 + 24
    assert set(found["left_out"]) == {"trained_on", "validated_on"}
    assert (found["unlabelled"], found["failed"]) == (1, {"null_text": 1, "not_a_string": 1, "invalid_json": 1})
    assert found["training_documents_known"]
    assert found["split"] is None
    shown = capsys.readouterr().out
    html = (folder / "out" / "report.html").read_text()
    for said in (shown, html):
        assert re.search(
            "48 documents were left out, because the checkpoint knows them: trained on",
            said.replace("\n", " "),
        )
        assert "34 measured of 86 in the corpus" in said


def test_a_finished_job_has_nothing_to_do_and_another_is_refused(trained: Path, corpus: Path):
    assert run_training(training_job(corpus, trained)) is None
    with pytest.raises(ConfigError, match="was not made by this job"):
        run_training(job(corpus, trained))


@pytest.mark.parametrize("made_by", ["", "[]", "not {digest}", '{{"job": null, "resumed": "{digest}"}}', None])
def test_a_folder_that_somebody_else_made_is_refused(corpus: Path, tmp_path: Path, made_by: str | None):
    made = training_job(corpus, tmp_path)
    if made_by is not None:
        (tmp_path / "training.json").write_text(made_by.format(digest=job_digest(made)))
    with pytest.raises(ConfigError, match="was not made by this job"):
        run_training(made)


def test_what_was_prepared_without_a_state_is_said_to_begin(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made = training_job(corpus, tmp_path / "model")
    train_output.print_prepared(made, prepare(made))
    assert "going on" not in capsys.readouterr().out
    train_output.print_prepared(made, prepare(made))
    assert "it left no state of training, which begins with the first step" in capsys.readouterr().out
