"""Logits of tokens -> entities, against transformers' own aggregation and a document read at once."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from transformers.pipelines.token_classification import (
    AggregationStrategy,
    TokenClassificationPipeline,
)

from pipeline.tasks.document_scores import Tokens
from pipeline.tasks.token_classification import ENTITIES, EntityTokens, TokenClassification, entity_runs, stitched
from pipeline.text.windows import WindowPolicy
from tests.tasks.rows import row

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TASK = TokenClassification(LABELS)
AT_ONCE = WindowPolicy(max_tokens=1000)
WINDOWS = WindowPolicy(max_tokens=22, overlap=8)
LONG = "a rook, and a jackdaw, and crows in a field, and another rook on the tower of the church"


def head_of(labels: dict[int, str], score: float = 0.9) -> Any:
    """Names tokens by their place in the document, whatever the window; all others are outside."""

    def head(document: int, question: int, body: list[int]) -> tuple[np.ndarray, np.ndarray]:
        rest = (1 - score) / (len(LABELS) - 1)
        logits = np.full((len(body), len(LABELS)), math.log(rest))
        logits[range(len(body)), [LABELS.index(labels.get(i, "O")) for i in body]] = math.log(score)
        return logits, np.zeros(len(LABELS))

    return head


def entities(text: str, policy: WindowPolicy, head: Any, task: TokenClassification = TASK) -> Any:
    (found,) = task.decide(task.outputs(row([text], policy, head)))[0].to_pylist()
    return found


def spans(found: Any) -> list[tuple[str, str]]:
    return [(entity["label"], entity["text"]) for entity in found]


def word(start: int, stop: int, kind: str) -> dict[int, str]:
    return {start: f"B-{kind}"} | dict.fromkeys(range(start + 1, stop), f"I-{kind}")


@pytest.mark.parametrize("policy", [AT_ONCE, WINDOWS], ids=["at once", "in windows"])
def test_an_entity_is_its_characters(policy: WindowPolicy) -> None:
    found = entities(LONG, policy, head_of(word(2, 6, "PER") | word(14, 21, "PER")))
    assert spans(found) == [("PER", "rook"), ("PER", "jackdaw")]
    assert [(e["start"], e["stop"]) for e in found] == [(2, 6), (14, 21)]
    assert [e["score"] for e in found] == pytest.approx([0.9, 0.9])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(LABELS), min_size=len(LONG), max_size=len(LONG)), st.integers(0, 99))
def test_windows_change_nothing_where_the_head_sees_only_the_token(labels: list[str], seed: int) -> None:
    head = head_of(dict(enumerate(labels)))
    at_once = TASK.outputs(row([LONG, None, LONG[:9]], AT_ONCE, head)).to_pylist()
    assert TASK.outputs(row([LONG, None, LONG[:9]], WINDOWS, head, seed=seed)).to_pylist() == at_once


def test_a_token_is_labelled_by_the_window_with_most_context() -> None:
    def head(document: int, question: int, body: list[int]) -> tuple[np.ndarray, np.ndarray]:
        context = [min(i, len(body) - 1 - i) for i in range(len(body))]
        return np.array(context, float)[:, None].repeat(2, 1), np.zeros(2)

    tokens = Tokens.of(row([LONG], WINDOWS, head))
    found = tokens.logits_TL[stitched(tokens), 0]
    most = np.zeros(len(LONG))
    for window in WINDOWS.windows(len(LONG)):
        ((start, stop),) = window.spans
        for i in range(start, stop):
            most[i] = max(most[i], min(i - start, stop - 1 - i))
    assert found.tolist() == most.tolist()


def test_what_was_not_read_is_no_entity_and_ends_one() -> None:
    head = head_of(dict.fromkeys(range(len(LONG)), "I-PER"))
    found = entities(LONG, WindowPolicy(22, "head_tail"), head)
    assert spans(found) == [("PER", LONG[:10].strip()), ("PER", LONG[-10:].strip())]


def theirs(labels: list[str], scores: list[float]) -> list[tuple[str, int, int, float]]:
    """transformers' aggregation strategy "simple", which keeps what is outside."""
    pipeline = TokenClassificationPipeline.__new__(TokenClassificationPipeline)

    class Tokenizer:
        def convert_ids_to_tokens(self, number: int) -> str:
            return str(number)

        def convert_tokens_to_string(self, tokens: list[str]) -> str:
            return " ".join(tokens)

    config = SimpleNamespace(id2label=dict(enumerate(LABELS)))
    pipeline.tokenizer, pipeline.model = Tokenizer(), SimpleNamespace(config=config)
    tokens = [
        {
            "input_ids": number,
            "index": number,
            "word": str(number),
            "scores": np.array([s if name == label else 0.0 for name in LABELS]),
            "start": number,
            "end": number + 1,
            "is_subword": False,
        }
        for number, (label, s) in enumerate(zip(labels, scores, strict=True))
    ]
    found = pipeline.aggregate(tokens, AggregationStrategy.SIMPLE)
    kept = [entity for entity in found if entity["entity_group"] != "O"]
    return [(e["entity_group"], e["start"], e["end"], float(e["score"])) for e in kept]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LABELS), st.floats(0.5, 0.99)), min_size=1, max_size=12))
def test_entities_are_those_of_transformers(drawn: list[tuple[str, float]]) -> None:
    labels, scores = [label for label, _ in drawn], [score for _, score in drawn]

    def head(document: int, question: int, body: list[int]) -> tuple[np.ndarray, np.ndarray]:
        rows = [np.log([s if n == x else (1 - s) / 4 for n in LABELS]) for x, s in drawn]
        return np.array(rows), np.zeros(len(LABELS))

    found = entities("x" * len(drawn), AT_ONCE, head)
    expected = theirs(labels, scores)
    assert [(e["label"], e["start"], e["stop"]) for e in found] == [e[:3] for e in expected]
    # float32 keeps seven digits
    assert [e["score"] for e in found] == pytest.approx([e[3] for e in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("PER PER O PER", [("PER", 0, 1), ("PER", 3, 3)]),
        ("PER LOC LOC", [("PER", 0, 0), ("LOC", 1, 2)]),
        ("B-PER B-PER I-PER", [("PER", 0, 0), ("PER", 1, 2)]),
        ("I-PER I-LOC I-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),
        ("B-PER I-PER L-PER B-PER L-PER", [("PER", 0, 2), ("PER", 3, 4)]),
        ("U-PER U-PER L-PER I-PER", [("PER", i, i) for i in range(4)]),
        ("S-PER B-PER M-PER E-PER I-PER", [("PER", 0, 0), ("PER", 1, 3), ("PER", 4, 4)]),
        ("B-a-b I-a-b", [("a-b", 0, 1)]),
        ("O O", []),
    ],
    ids=["plain", "plain kinds", "IOB2", "IOB1", "BILOU", "BILOU alone", "BMES", "a dash", "none"],
)
def test_every_scheme_is_understood(labels: str, expected: list[tuple[str, int, int]]) -> None:
    assert entity_runs(labels.split()) == [EntityTokens(*run) for run in expected]


def test_blanks_alone_are_no_entity_and_none_is_at_its_ends() -> None:
    labels = dict.fromkeys((1, 2, 3, 7, 8), "I-PER") | dict.fromkeys((4, 5, 6), "I-PER")
    assert spans(entities("a  rook  b", AT_ONCE, head_of(labels))) == [("PER", "rook")]
    assert entities("a  rook  b", AT_ONCE, head_of({1: "B-PER", 7: "B-LOC"})) == []


def test_the_least_score_decides_at_publishing() -> None:
    task = TokenClassification(LABELS, min_score=0.8)
    outputs = TASK.outputs(row([LONG, "rook", "crow"], WINDOWS, head_of(word(0, 4, "PER"), score=0.7)))
    assert [len(found) for found in TASK.decide(outputs)[0].to_pylist()] == [1, 1, 1]
    (none,) = task.decide(outputs)
    assert none.to_pylist() == [[], [], []]
    assert none.type == ENTITIES.type


def test_the_temperature_takes_from_the_score() -> None:
    hot = TokenClassification(LABELS, temperature=4.0)
    (cool,), (warm,) = (entities("x", AT_ONCE, head_of({0: "B-PER"}), t) for t in (TASK, hot))
    four = [math.log(0.1 / 4) / 4] * 4
    shares = np.exp([math.log(0.9) / 4, *four])
    assert cool["score"] == pytest.approx(0.9)
    assert warm["score"] == pytest.approx(shares[0] / shares.sum())


def test_a_logit_that_is_not_finite_costs_its_document_and_no_other() -> None:
    def head(document: int, question: int, body: list[int]) -> tuple[np.ndarray, np.ndarray]:
        logits = np.zeros((len(body), len(LABELS)))
        logits[-1] = math.nan if document == 1 and body[0] else 0
        return logits, np.zeros(len(LABELS))

    outputs = TASK.outputs(row([LONG, LONG, None, "rook"], WINDOWS, head))
    assert outputs.is_valid().to_pylist() == [True, False, False, True]


def test_a_unit_without_windows() -> None:
    assert TASK.outputs(row([None], WINDOWS, head_of({}))).to_pylist() == [None]
