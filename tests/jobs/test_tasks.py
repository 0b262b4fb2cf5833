"""A whole job for each task: Ray, our encoder and a tiny checkpoint, against transformers' models on each window alone.

What transformers says of a window is searched slowly here; tokens and their characters have tests of their own.
"""

import json
import math
from collections import Counter
from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
from transformers import (
    BigBirdForQuestionAnswering,
    BigBirdForSequenceClassification,
    BigBirdForTokenClassification,
    BigBirdModel,
)

from jobs.label import run_job
from jobs.sample import CHECKPOINT
from pipeline.config.label import Job, parse_job
from pipeline.planning.plan import make_plan
from pipeline.tables.publish import publish
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy
from tests.checkpoint_folders import random_transformers_model, save_folder
from tests.labelling import label_here

SPIECE = CHECKPOINT / "spiece.model"
CLS, SEP = 4, 5
MAX_TOKENS, OVERLAP = 60, 16
TEXTS = {
    "short": "The rook is a bird.",
    "hard": "cafe\u0301 ﬁnal ½ ＡＢＣ１２３ 👩‍👩‍👧 日本語の文章\n\n and  a word, then " * 4,
    "long": " ".join(f"Proposal {n} deprecates the function of version {n * n}." for n in range(20)),
}
QUESTIONS = ("Which bird is it?", "What is deprecated?")
TOKENIZER = Tokenizer.load(SPIECE, None)
CLOSE = 1e-4  # the promise for fp32 (docs/architecture.md)


def checkpoint(folder: Path, model_class: Any, rookery: Any = None, **config: Any) -> Any:
    model = random_transformers_model(
        model_class=model_class, vocab_size=TOKENIZER.vocab_size, sep_token_id=SEP, **config
    )
    save_folder(model, folder / "checkpoint", spiece=SPIECE, rookery=rookery)
    lines = [json.dumps({"id": id_, "text": text}) + "\n" for id_, text in TEXTS.items()]
    (folder / "corpus.jsonl").write_text("".join(lines))
    return model


def job(folder: Path, *overrides: str) -> Job:
    settings = [
        f"corpus.uris={folder}/corpus.jsonl",
        "corpus.id_column=id",
        f"checkpoint.uri={folder}/checkpoint",
        f"table.uri={folder}/table",
        "compute.dtype=fp32",
        f"text.max_tokens={MAX_TOKENS}",
        f"text.overlap={OVERLAP}",
    ]
    return parse_job("", [*settings, *overrides])


def label_and_publish_here(settings: Job) -> None:
    plan = make_plan(settings)
    label_here(plan)
    publish(plan.snapshots, plan.fragments, plan.publication, {})


def published(folder: Path, column: str) -> tuple[dict[str, Any], str]:
    """The column by id, and its type, as DuckDB reads them."""
    table = duckdb.sql(f"select id, {column} from '{folder}/table/data/**/*.parquet'")
    return dict(table.fetchall()), str(table.types[1])


def windows(text: str, question: str | None = None) -> list[tuple[torch.Tensor, int, int]]:
    """Each window's ids, how many of them are before the document's, and which of the document's is the first."""
    (ids,) = TOKENIZER.encode([text])
    asked = [] if question is None else [*TOKENIZER.encode([question])[0], SEP]
    found = []
    for window in WindowPolicy(MAX_TOKENS, "windows", OVERLAP, len(asked)).windows(len(ids)):
        ((start, stop),) = window.spans
        found.append((torch.tensor([[CLS, *asked, *ids[start:stop], SEP]]), 1 + len(asked), start))
    return found


def check_types(found: str, *names: str) -> None:
    assert all(name in found for name in names), found


@torch.inference_mode()
def best_answer(model: Any, text: str, question: str) -> tuple[float, dict[tuple[int, int], float]]:
    """The lowest logit of there being none, and the logit of every span of characters."""
    (located,) = TOKENIZER.locate([text])
    spans: dict[tuple[int, int], float] = {}
    nulls = []
    for ids, before, first in windows(text, question):
        output = model(input_ids=ids)
        start, end = output.start_logits[0].double().numpy(), output.end_logits[0].double().numpy()
        nulls.append(start[0] + end[0])
        last = ids.shape[1] - 1
        for a in range(before, last):
            for b in range(a, min(a + 64, last)):
                span = (
                    int(located.starts[first + a - before]),
                    int(located.stops[first + b - before]),
                )
                if span[0] < span[1]:
                    spans[span] = max(spans.get(span, -math.inf), start[a] + end[b])
    return min(nulls), spans


@pytest.mark.ray
def test_questions_are_answered_as_by_transformers(ray: None, tmp_path: Path) -> None:
    model = checkpoint(tmp_path, BigBirdForQuestionAnswering)
    asked = f"task.questions={json.dumps(QUESTIONS)}"
    run_job(job(tmp_path, asked, "task.no_answer_threshold=1000"))
    found, type_ = published(tmp_path, "answers")
    check_types(type_, "question VARCHAR", "answer VARCHAR", '"start" INTEGER', "score DOUBLE")
    for id_, text in TEXTS.items():
        for question, answer in zip(QUESTIONS, found[id_], strict=True):
            null, spans = best_answer(model, text, question)
            best = sorted(spans.values())[-20:]
            assert answer["question"] == question
            span = answer["start"], answer["stop"]
            assert spans[span] == pytest.approx(best[-1], abs=CLOSE)
            assert answer["answer"] == text[slice(*span)] == answer["answer"].strip()
            expected = 1 / np.exp(np.array([null, *best]) - best[-1]).sum()
            # spans with blanks around them may take the places of the last few of 20
            assert answer["score"] == pytest.approx(expected, abs=0.02)


@torch.inference_mode()
def token_labels(model: Any, text: str) -> list[tuple[str, float]]:
    """Each token's label and its probability, from the window in whose middle it is most."""
    most: dict[int, tuple[int, torch.Tensor]] = {}
    for ids, before, first in windows(text):
        probabilities = model(input_ids=ids).logits[0].double().softmax(-1)
        n = ids.shape[1] - 2
        for i in range(n):
            context = min(i, n - 1 - i)
            if context > most.get(first + i, (-1, None))[0]:
                most[first + i] = (context, probabilities[before + i])
    rows = [row for _, (_, row) in sorted(most.items())]
    return [(model.config.id2label[int(row.argmax())], float(row.max())) for row in rows]


@pytest.mark.ray
def test_entities_are_those_of_transformers(ray: None, tmp_path: Path) -> None:
    labels = {0: "O", 1: "BIRD", 2: "VERSION"}
    # with this seed and these weights every label is there
    model = checkpoint(tmp_path, BigBirdForTokenClassification, id2label=labels, seed=2, std=0.5)
    manifest = run_job(job(tmp_path, "task.min_score=0.6"))
    found, type_ = published(tmp_path, "entities")
    check_types(type_, '"label" VARCHAR', '"text" VARCHAR', '"start" INTEGER', "score DOUBLE")
    count = 0
    for id_, text in TEXTS.items():
        (located,) = TOKENIZER.locate([text])
        expected, at = [], 0
        for label, run in groupby(token_labels(model, text), key=lambda token: token[0]):
            scores = [score for _, score in run]
            span = int(located.starts[at]), int(located.stops[at + len(scores) - 1])
            at += len(scores)
            if label != "O" and span[0] < span[1] and np.mean(scores) >= 0.6:
                expected.append((label, text[slice(*span)], *span, np.mean(scores)))
        got = [(e["label"], e["text"], e["start"], e["stop"], e["score"]) for e in found[id_]]
        assert [e[:4] for e in got] == [e[:4] for e in expected]
        assert [e[4] for e in got] == pytest.approx([e[4] for e in expected], abs=CLOSE)
        assert all(a[3] <= b[2] for a, b in pairwise(got))
        count += len(got)
    assert manifest is not None
    assert count > 0
    kinds = Counter(kind for entities in found.values() for kind in {e["label"] for e in entities})
    assert manifest.labels == kinds  # documents that have one, not entities


@pytest.mark.ray
def test_embeddings_are_the_mean_of_transformers_hidden_states(ray: None, tmp_path: Path) -> None:
    model = checkpoint(tmp_path, BigBirdModel)
    run_job(job(tmp_path))
    found, type_ = published(tmp_path, "embedding")
    assert type_ == "FLOAT[]"
    for id_, text in TEXTS.items():
        total = np.zeros(64)
        for ids, _, _ in windows(text):
            with torch.inference_mode():
                total += model(input_ids=ids).last_hidden_state[0].double().sum(0).numpy()
        np.testing.assert_allclose(found[id_], total / np.linalg.norm(total), atol=CLOSE)


def mean_logit(model: Any, text: str) -> float:
    with torch.inference_mode():
        logits = [model(input_ids=ids).logits.item() for ids, _, _ in windows(text)]
    return float(np.average(logits, weights=[ids.shape[1] for ids, _, _ in windows(text)]))


@pytest.mark.parametrize(
    ("rookery", "column", "expected"),
    [
        (None, "value", lambda x: x),
        (
            {"problem_type": "binary", "labels": ["ham", "spam"]},
            "label",
            lambda x: "spam" if x >= 0 else "ham",
        ),
        (
            {"problem_type": "multi_label", "labels": ["spam"]},
            "labels",
            lambda x: ["spam"] if x >= 0 else [],
        ),
    ],
    ids=["regression", "binary", "multi-label"],
)
def test_a_head_with_one_output(rookery: Any, column: str, expected: Callable[[float], Any], tmp_path: Path) -> None:
    model = checkpoint(tmp_path, BigBirdForSequenceClassification, rookery, id2label={0: "price"})
    label_and_publish_here(job(tmp_path))
    found, _ = published(tmp_path, column)
    for id_, text in TEXTS.items():
        value = expected(mean_logit(model, text))
        assert found[id_] == (value if isinstance(value, str | list) else pytest.approx(value, abs=CLOSE))
