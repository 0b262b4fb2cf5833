"""Small jobs, trained in this process without Ray."""

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    BigBirdForMaskedLM,
    BigBirdForQuestionAnswering,
    BigBirdForTokenClassification,
    BigBirdModel,
)

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.cluster.trainer import make_run
from pipeline.errors import ConfigError, CorpusError
from pipeline.inference.predictor import Predictor
from pipeline.training import state
from pipeline.training.prepare import prepare
from pipeline.training.run import batcher_of, starting_classifier, starting_masked_model, work
from pipeline.training.token_store import TokenizedDocuments
from pipeline.training.workers import Workers
from tests.checkpoint_folders import (
    one_output,
    random_transformers_model,
    save_folder,
    transformers_logits,
)
from tests.training.corpora import job, train, weights, write

SCORES = {"single_label": "accuracy", "multi_label": "micro F1", "regression": "R²"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "birds.jsonl")


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with transformers' own head."""
    output = tmp_path_factory.mktemp("trained") / "model"
    own = {"pooling": "cls", "kind": "bigbird"}
    train(job(corpus, output, head=own, text={"max_tokens": 64, "overlap": 4}))
    return output


def test_it_learns_and_reports(corpus: Path, tmp_path: Path):
    _, scores, reports = train(job(corpus, tmp_path / "model"))
    epochs = [r for r in reports if r["kind"] == "epoch"]
    assert [r["epoch"] for r in epochs] == [1, 2, 3, 4]
    assert epochs[-1]["loss"] < 0.5 * epochs[0]["loss"]
    assert scores["test"]["score"] == 1
    steps = [r for r in reports if r["kind"] == "step"]
    assert steps
    assert all(r["tokens_per_s"] > 0 for r in steps)


def test_the_folder_is_complete(trained: Path):
    folder = CheckpointFolder.open(trained)
    assert folder.head.labels == ("rook", "tern")
    assert (folder.windows.max_tokens, folder.windows.overlap) == (64, 4)
    card = (trained / "README.md").read_text()
    for fact in ("rook 16, tern 16", "| test | 8 |", "accuracy", "learning_rate: 0.02", "| 4 | 0."):
        assert fact in card
    assert sorted(path.name for path in trained.parent.iterdir()) == ["model"]


def remembered(folder: Path) -> dict[str, set[bytes]]:
    table = pq.read_table(folder / "training_documents.parquet")
    found: dict[str, set[bytes]] = {}
    for row in table.to_pylist():
        found.setdefault(row["split"], set()).add(row["digest"])
    return found


def digests(corpus: Path, *splits: str) -> set[bytes]:
    records = map(json.loads, corpus.read_text().splitlines())
    return {hashlib.sha256(r["text"].encode()).digest()[:16] for r in records if r["split"] in splits}


def test_the_folder_says_what_it_was_trained_on(corpus: Path, trained: Path):
    uses = {use: digests(corpus, use) for use in ("train", "validation")}
    assert remembered(trained) == uses
    assert len(uses["train"]) == 32


def test_transformers_loads_its_own_head_and_agrees(trained: Path):
    from transformers import BigBirdForSequenceClassification

    theirs = BigBirdForSequenceClassification.from_pretrained(trained).eval()
    ours = Predictor.load(trained, device="cpu", dtype="fp32", threads=1)
    ids = np.array([5, *range(10, 60), 6])
    # fp32 of both; logits up to 3
    expected = transformers_logits(theirs, ids)
    np.testing.assert_allclose(ours.predict(ids, np.array([len(ids)]))[0], expected, atol=1e-4)


@pytest.mark.parametrize("problem_type", list(SCORES))
def test_every_problem_type(tmp_path: Path, problem_type: str):
    fields: dict[str, dict[str, Any]] = {
        "multi_label": {"label": ["bird", "animal"]},
        "regression": {"label": 0.25},
    }
    corpus = write(tmp_path / "birds.jsonl", 24, **fields.get(problem_type, {}))
    head = {"problem_type": problem_type}
    made = job(corpus, tmp_path / "model", head=head, training={"epochs": 1})
    _, scores, _ = train(made)
    assert scores["test"]["name"] == SCORES[problem_type]
    assert CheckpointFolder.open(tmp_path / "model").head.problem_type == problem_type


def test_a_run_that_was_stopped_ends_with_the_same_weights(corpus: Path, tmp_path: Path):
    settings = {"epochs": 2, "dropout": 0.1, "hidden_tokens": 0.1, "windows": "random"}
    train(job(corpus, tmp_path / "whole", training=settings))

    made = job(corpus, tmp_path / "model", training=settings, output={"state_every_s": 1e-6})
    run = make_run(made, prepare(made))
    places: list[dict[str, Any]] = []
    written = state.write_state

    def stop_in_the_second_epoch(path: Path, held: dict[str, Any]) -> None:
        written(path, held)
        places.extend([held["place"]] if "place" in held else [])
        if places and (places[-1]["epoch"], places[-1]["step"]) == (1, 2):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "write_state", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            work(run, Workers(), lambda _: None)
    longest = run.policy.body  # of a stretch, without [CLS] and [SEP]
    lengths = TokenizedDocuments.load(run.prepared.work / "train").length_C
    _, _, reports = train(made)
    assert {r["epoch"] for r in reports} == {2}
    resumed = reports[0]
    assert (resumed["kind"], resumed["phase"], resumed["done"]) == ("resumed", "training", False)
    assert resumed["steps"] == len([place for place in places if place["step"]])
    (first_epoch,) = [place for place in places if (place["epoch"], place["step"]) == (1, 0)]
    assert first_epoch["tokens"] == sum(np.minimum(lengths, longest) + 2)
    assert first_epoch["tokens"] < resumed["tokens"] == places[-1]["tokens"]
    assert 0 <= time.time() - resumed["saved_at"] < 300
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "model")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_head_alone_leaves_the_encoder(corpus: Path, trained: Path, tmp_path: Path):
    made = job(
        corpus,
        tmp_path / "model",
        init=None,
        checkpoint={"uri": str(trained)},
        training={"head_only": True, "epochs": 1, "dropout": 0.1},
    )
    train(made)
    before, after = weights(trained), weights(tmp_path / "model")
    same = [n for n in after if n.startswith("bert.") and "pooler" not in n]
    assert all(torch.equal(before[name], after[name]) for name in same)
    assert len(same) == 21  # of one layer and the embeddings
    assert after["classifier.weight"].abs().sum() > 0


def test_a_checkpoint_is_trained_on_with_its_own_head(corpus: Path, trained: Path, tmp_path: Path):
    repeated = tmp_path / "birds.jsonl"
    records = [json.loads(line) for line in corpus.read_text().splitlines()][:40]
    records += [record | {"split": "test"} for record in records[:8]]  # two of them are test documents
    records += [record | {"split": "train", "text": record["text"] + " caw"} for record in records[4:8]]
    repeated.write_text("".join(json.dumps(record) + "\n" for record in records))
    made = job(
        repeated, tmp_path / "model", init=None, head=None, checkpoint={"uri": str(trained)}, training={"epochs": 1}
    )
    _, scores, reports = train(made)
    assert reports[0]["loss"] < 0.5  # it began where the other ended
    assert scores["test"] == scores["test"] | {"score": 1, "documents": 10}  # 8 of 40, and 2
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Left out: 6 of test, whose text trains or validates already" in card
    assert remembered(tmp_path / "model") == {
        "train": digests(repeated, "train") | digests(corpus, "train"),
        "validation": digests(corpus, "validation"),
    }
    assert CheckpointFolder.open(tmp_path / "model").windows.max_tokens == 64


@pytest.mark.parametrize(
    ("model_class", "task"),
    [
        (BigBirdForQuestionAnswering, "question_answering"),
        (BigBirdForTokenClassification, "token_classification"),
        (BigBirdForMaskedLM, "masked_lm"),
        (BigBirdModel, "embedding"),
    ],
)
def test_a_head_that_labels_of_documents_can_not_train_is_refused(
    model_class: Any, task: str, corpus: Path, trained: Path, tmp_path: Path
):
    model = random_transformers_model(
        model_class=model_class, hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=60
    )
    start = save_folder(model, tmp_path / "start", spiece=trained / "spiece.model")
    made = job(corpus, tmp_path / "model", init=None, head=None, checkpoint={"uri": str(start)})
    with pytest.raises(ConfigError, match=rf"head: the checkpoint's own, .* is for {task}, .* head\.pooling"):
        prepare(made)


def test_transformers_checkpoints_get_a_new_head(corpus: Path, trained: Path, tmp_path: Path):
    model = random_transformers_model(hidden_size=16, num_hidden_layers=1, vocab_size=60)
    start = save_folder(model, tmp_path / "start", spiece=trained / "spiece.model")
    made = job(
        corpus,
        tmp_path / "model",
        init=None,
        checkpoint={"uri": str(start)},
        training={"head_only": True, "epochs": 1},
        head={"pooling": "attention", "kind": "dense"},
    )
    train(made)
    before, after = weights(start), weights(tmp_path / "model")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(before[name], after[name])
    assert CheckpointFolder.open(tmp_path / "model").head.labels == ("rook", "tern")


def test_masked_language_model_first(corpus: Path, tmp_path: Path):
    text = {"corpus": {"uris": str(corpus)}, "epochs": 2, "learning_rate": 0.02, "masked": 0.2}
    made = job(corpus, tmp_path / "model", pretraining=text, training={"epochs": 1})
    _, _, reports = train(made)
    losses = [r["loss"] for r in reports if r["phase"] == "pretraining" and r["kind"] == "epoch"]
    assert len(losses) == 2
    assert losses[-1] < losses[0] - 0.1  # nats; what it began with is the logarithm of 60, 4.1


def test_a_pretrained_head_goes_on_from_what_it_knows(corpus: Path, trained: Path, tmp_path: Path):
    """The first loss is that of transformers' BigBirdForMaskedLM of the same hidden tokens, each window alone."""
    theirs = random_transformers_model(
        model_class=BigBirdForMaskedLM,
        hidden_size=16,
        num_hidden_layers=1,
        vocab_size=60,
        block_size=16,
        num_random_blocks=1,
    )
    start = save_folder(theirs, tmp_path / "start", spiece=trained / "spiece.model")
    text = {"corpus": {"uris": str(corpus)}, "masked": 0.2}
    made = job(corpus, tmp_path / "model", init=None, checkpoint={"uri": str(start)}, pretraining=text)
    run = make_run(made, prepare(made))
    model = starting_masked_model(run, starting_classifier(run))
    batcher, store = batcher_of(run), TokenizedDocuments.load(run.prepared.work / "pretraining")
    windows = sorted(batcher.every_window(store), key=lambda window: window.n_tokens)
    batch = batcher.batch(store, [windows[0], windows[-1]], 0.2, (1, 2))
    loss, count = model.sums(batch)
    lengths = batch.layout.length_W.tolist()
    assert lengths[0] < batch.layout.full_attention_limit < lengths[1]
    expected = 0.0
    for token_id_N, original_id_N in zip(
        batch.token_id_T[batch.layout.row_N].split(lengths),
        batch.original_id_T[batch.layout.row_N].split(lengths),
        strict=True,
    ):
        theirs.bert.set_attention_type("block_sparse")
        hidden_N = token_id_N != original_id_N
        logits_NV = theirs(token_id_N[None]).logits[0]
        expected += F.cross_entropy(logits_NV[hidden_N], original_id_N[hidden_N], reduction="sum").item()
    assert count > 20
    assert loss.item() == pytest.approx(
        expected, rel=1e-5
    )  # measured 5e-8, of a loss of 4 nats and more for each token


def test_early_stopping_keeps_the_best(corpus: Path, tmp_path: Path):
    hopeless = {"epochs": 6, "learning_rate": 5.0, "patience": 1, "decay": "none"}
    made = job(corpus, tmp_path / "model", training=hopeless)
    _, scores, reports = train(made)
    losses = [r["validation"]["loss"] for r in reports if r["kind"] == "epoch"]
    best = int(np.argmin(losses))
    assert len(losses) == min(6, best + 2) < 6
    assert scores["validation"]["loss"] == pytest.approx(min(losses))


def test_without_a_split_column_a_share_validates(tmp_path: Path):
    corpus = write(tmp_path / "birds.jsonl", 48)
    columns = {"split_column": None}
    found = prepare(job(corpus, tmp_path / "model", corpus=columns)).documents
    assert found["train"] + found["validation"] == 48
    assert 1 <= found["validation"] <= 12


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        (
            {"splits": {"validation": "dev"}},
            CorpusError,
            r"splits.validation: .* none has 'dev' in corpus.split_column 'split' \(others found: 'validation'\)",
        ),
        ({"splits": {"train": "training"}}, CorpusError, "splits.train: no document is for train"),
        ({"corpus": {"label_column": "split"}}, CorpusError, "nothing to tell apart"),
        ({"corpus": {"label_column": "region"}}, CorpusError, "not one of 48 documents has a value"),
        ({"head": {"problem_type": "regression"}}, CorpusError, "expected a number, as problem_type is regression"),
        ({"init": {"vocabulary": 9000}}, ConfigError, "init.vocabulary 9000"),
        (
            {"training": {"class_weights": {"rook": 2}}},
            ConfigError,
            "class_weights names rook; expected each label: rook, tern",
        ),
    ],
    ids=["no validation", "no train", "single class", "no labels", "no number", "vocabulary", "weights"],
)
def test_what_cannot_be_trained(corpus: Path, tmp_path: Path, sections, error, message):
    with pytest.raises(error, match=message):
        prepare(job(corpus, tmp_path / "model", **sections))
    prepare(job(corpus, tmp_path / "model"))  # once it is corrected nothing is in the way


def test_a_label_of_the_test_documents_alone_is_known_and_never_given(tmp_path: Path):
    corpus = write(tmp_path / "birds.jsonl")
    records = [json.loads(line) for line in corpus.read_text().splitlines()]
    next(r for r in records if r["split"] == "test")["label"] = "jackdaw"
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records))
    _, scores, _ = train(job(corpus, tmp_path / "model"))
    assert CheckpointFolder.open(tmp_path / "model").head.labels == ("jackdaw", "rook", "tern")
    assert scores["test"]["score"] == 7 / 8


def test_labels_that_the_checkpoint_does_not_know(trained: Path, tmp_path: Path):
    corpus = write(tmp_path / "birds.jsonl", label="jackdaw")
    made = job(corpus, tmp_path / "model", init=None, head=None, checkpoint={"uri": str(trained)})
    with pytest.raises(CorpusError, match="labels that the checkpoint does not know: jackdaw; it knows rook, tern"):
        prepare(made)


def test_a_binary_head_is_trained_as_the_two_labels_that_it_stands_for(corpus: Path, trained: Path, tmp_path: Path):
    """One output that is the difference of two: the same probabilities, the same loss, and steps that keep to it."""
    binary = tmp_path / "binary"
    shutil.copytree(trained, binary)
    one_output(binary, "rook", "tern", {"problem_type": "binary", "labels": ["rook", "tern"]})
    found = []
    for folder in (trained, binary):
        made = job(
            corpus,
            tmp_path / f"from_{folder.name}",
            init=None,
            head=None,
            checkpoint={"uri": str(folder)},
            training={"epochs": 1, "learning_rate": 1e-7},
        )
        _, scores, reports = train(made)
        found.append((scores["test"], scores["validation"]["loss"], reports[0]["loss"]))
    (single_test, *single), (binary_test, *binary_losses) = found
    # a rate that hardly moves the weights: what is left is rounding
    assert binary_losses == pytest.approx(single, abs=1e-5)
    assert binary_test["score"] == single_test["score"]
    assert CheckpointFolder.open(tmp_path / "from_binary").head.problem_type == "binary"


def test_work_of_another_version_is_refused(corpus: Path, tmp_path: Path):
    marker = prepare(job(corpus, tmp_path / "model")).work / "prepared.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": 1}))
    with pytest.raises(ConfigError, match=r"model\.work: .* another version of Rookery"):
        prepare(job(corpus, tmp_path / "model"))


def test_work_of_another_job_is_refused(corpus: Path, tmp_path: Path):
    prepare(job(corpus, tmp_path / "model"))
    with pytest.raises(ConfigError, match="holds the state of a run with other settings"):
        prepare(job(corpus, tmp_path / "model", training={"seed": 4}))
