"""Logits of tokens -> answers, against a search of every span, one by one."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.tasks.question_answering import (
    ANSWER_TOKENS,
    ANSWERS,
    SPANS_KEPT,
    QuestionAnswering,
)
from pipeline.text.windows import WindowPolicy
from tests.tasks.rows import row

ONE = QuestionAnswering(("Which bird?",))
WINDOWS = WindowPolicy(max_tokens=24, overlap=8, question_tokens=3)


def random_head(seed: int) -> Any:
    """The same token of a document has other logits in each of its windows, as with a real encoder."""

    def head(document: int, question: int, body: list[int]) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([seed, document, question, *body[:1]])
        return random.normal(size=(len(body), 2)).round(1), random.normal(size=2).round(1)

    return head


def slow(text: str, policy: WindowPolicy, head: Any, document: int, question: int) -> Any:
    """Every span of every window: those with the highest logits, and the lowest logit of [CLS]."""
    found: dict[tuple[int, int], float] = {}
    nulls = []
    for window in policy.windows(len(text)):
        body = [i for start, stop in window.spans for i in range(start, stop)]
        logits, cls = head(document, question, body)
        nulls.append(cls.sum())
        for a, first in enumerate(body):
            for b in range(a, min(a + ANSWER_TOKENS, len(body))):
                span = (first, body[b] + 1)
                if body[b] - first == b - a and text[slice(*span)].strip():
                    while text[span[0]].isspace():
                        span = (span[0] + 1, span[1])
                    while text[span[1] - 1].isspace():
                        span = (span[0], span[1] - 1)
                    logit = float(logits[a, 0] + logits[b, 1])
                    found[span] = max(found.get(span, -math.inf), logit)
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:SPANS_KEPT]
    return min(nulls), best


def answer(task: QuestionAnswering, text: str, policy: WindowPolicy, head: Any) -> dict[str, Any]:
    (answers,) = task.decide(task.outputs(row([text], policy, head)))[0].to_pylist()
    return dict(answers[0])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("rok ", min_size=1, max_size=90).filter(str.strip), min_size=1, max_size=3),
    st.integers(0, 99),
    st.sampled_from(["windows", "head", "head_tail"]),
)
def test_answers_are_those_of_a_search_of_every_span(texts: list[str], seed: int, how: Any) -> None:
    policy = WindowPolicy(24, how, 8, question_tokens=3)
    task, head = QuestionAnswering(("a", "b")), random_head(seed)
    outputs = task.outputs(row(list(texts), policy, head, questions=2, seed=seed))
    for document, (text, bests) in enumerate(zip(texts, outputs.to_pylist(), strict=True)):
        for question, best in enumerate(bests):
            null, spans = slow(text, policy, head, document, question)
            # float32 keeps seven digits
            assert best["null_logit"] == pytest.approx(null, abs=1e-5)
            logits = [span["logit"] for span in best["spans"]]
            # with blanks around it a span has several logits, which take the places of others
            compared = 1 if " " in text else SPANS_KEPT
            expected = [logit for _, logit in spans]
            assert logits[:compared] == pytest.approx(expected[:compared], abs=1e-5)
            first = best["spans"][0]
            assert first["logit"] == pytest.approx(dict(spans).get((first["start"], first["stop"])), abs=1e-5)
            assert best["text"] == text[first["start"] : first["stop"]]


def fixed_head(starts: dict[int, float], ends: dict[int, float], null: float = 0.0) -> Any:
    def head(document: int, question: int, body: list[int]) -> tuple[np.ndarray, np.ndarray]:
        logits = [[starts.get(i, -50.0), ends.get(i, -50.0)] for i in body]
        return np.array(logits), np.array([null / 2, null / 2])

    return head


LONG = "a rook, and a jackdaw, and crows in a field"


def test_an_answer_is_its_characters() -> None:
    found = answer(ONE, LONG, WINDOWS, fixed_head({2: 3.0}, {5: 4.0}))
    assert found["score"] == pytest.approx(math.exp(7) / (1 + math.exp(7)))
    assert {k: v for k, v in found.items() if k != "score"} == {
        "question": "Which bird?",
        "answer": "rook",
        "start": 2,
        "stop": 6,
    }


def test_an_answer_over_the_end_of_a_window_is_found_in_the_next() -> None:
    """The first window ends after 19 characters, the second begins with the 12th."""
    assert answer(ONE, LONG, WINDOWS, fixed_head({14: 3.0}, {20: 4.0}))["answer"] == "jackdaw"


def test_an_answer_in_two_windows_counts_once() -> None:
    task = QuestionAnswering(("?",))
    table = row([LONG], WINDOWS, fixed_head({12: 3.0}, {12: 4.0}))
    ((best,),) = task.outputs(table).to_pylist()
    assert [s["logit"] for s in best["spans"] if s["logit"] > 0] == [7.0]


@pytest.mark.parametrize(
    ("null", "threshold", "text"),
    [
        (6.0, 0.0, "rook"),
        (8.0, 0.0, None),
        (7.0, 0.0, "rook"),
        (8.0, 2.0, "rook"),
        (6.0, -2.0, None),
        (500.0, 1000.0, "rook"),
    ],
    ids=["less likely", "likelier", "as likely", "allowed", "not sure enough", "always"],
)
def test_no_answer_is_by_its_threshold(null: float, threshold: float, text: str | None) -> None:
    task = QuestionAnswering(("?",), threshold)
    found = answer(task, LONG, WINDOWS, fixed_head({2: 3.0}, {5: 4.0}, null))
    assert found["answer"] == text
    shares = np.exp([null - max(null, 7), 7 - max(null, 7)])
    assert found["score"] == pytest.approx(shares[int(text is not None)] / shares.sum())
    assert (found["start"], found["stop"]) == ((2, 6) if text else (None, None))


def test_every_window_must_say_that_there_is_none() -> None:
    def head(document: int, question: int, body: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(body), 2), -1.0), np.full(2, 1.0 if body[0] else -3.0)

    ((best,),) = ONE.outputs(row([LONG], WINDOWS, head)).to_pylist()
    assert best["null_logit"] == -6.0


def test_blanks_are_no_answer_and_none_is_at_its_ends() -> None:
    """The best tokens are the blank before rook and the one after."""
    text = "a  rook  b"
    found = answer(ONE, text, WINDOWS, fixed_head({1: 9.0, 2: 1.0}, {2: 9.0, 7: 5.0}))
    assert found["answer"] == "rook"


def test_an_answer_has_at_most_so_many_tokens() -> None:
    text = "r" * 200
    policy = WindowPolicy(max_tokens=250, overlap=0, question_tokens=3)
    at_most = fixed_head({10: 9.0}, {10 + ANSWER_TOKENS - 1: 9.0})
    assert answer(ONE, text, policy, at_most)["answer"] == "r" * ANSWER_TOKENS
    more = fixed_head({10: 9.0}, {10 + ANSWER_TOKENS: 9.0})
    assert answer(ONE, text, policy, more)["answer"] is None


def test_an_answer_does_not_bridge_what_was_not_read() -> None:
    policy = WindowPolicy(24, "head_tail", question_tokens=3)  # the first 10 and the last 9
    found = answer(ONE, LONG, policy, fixed_head({9: 9.0}, {34: 9.0}))
    assert found["answer"] is None


def test_documents_without_windows_or_with_a_logit_that_is_not_finite_have_no_outputs() -> None:
    def head(document: int, question: int, body: list[int]) -> tuple[np.ndarray, np.ndarray]:
        logits = np.zeros((len(body), 2))
        logits[-1] = math.nan if document == 2 and question == 1 and body[0] else 0
        return logits, np.zeros(2)

    table = row(["rook", None, LONG, LONG], WINDOWS, head, questions=2)
    outputs = QuestionAnswering(("a", "b")).outputs(table)
    assert outputs.is_valid().to_pylist() == [True, False, False, True]


def test_a_unit_without_windows() -> None:
    outputs = ONE.outputs(row([None], WINDOWS, fixed_head({}, {})))
    assert outputs.to_pylist() == [None]


def test_the_columns() -> None:
    (array,) = ONE.decide(ONE.outputs(row(["rook"], WINDOWS, fixed_head({}, {}))))
    assert array.type == ANSWERS.type
    array.validate(full=True)


def test_what_decides_changes_the_key_and_what_scores_does_not() -> None:
    assert QuestionAnswering(("a",), 1.0).key != ONE.key
    assert QuestionAnswering(("a",), 0.0, 2.0).key != ONE.key
    assert QuestionAnswering(("a",)).key == ONE.key
    assert QuestionAnswering(("a",)).scoring != ONE.scoring
