"""Scores and truths for tests, random but repeatable."""

import numpy as np
from hypothesis import strategies as st

from pipeline.evaluation.scored_documents import ScoredDocuments
from pipeline.tasks.classification import Floats, sigmoid, softmax
from pipeline.terms import ProblemType


def examples(logits_NL: Floats, truth_NL: Floats) -> ScoredDocuments:
    """Every document is one window of 100 tokens."""
    n = len(logits_NL)
    ones_N = np.ones(n, np.int64)
    return ScoredDocuments(np.asarray(logits_NL, float), np.asarray(truth_NL, float), 100 * ones_N, ones_N)


def sampled(
    problem_type: ProblemType, documents: int, labels: int, *, seed: int = 0, hotter: float = 1.0
) -> ScoredDocuments:
    """Truths drawn from the very probabilities of the logits, which are then multiplied by `hotter`."""
    random = np.random.default_rng(seed)
    logits_NL = 2 * random.normal(size=(documents, labels)) - np.arange(labels) / 2
    if problem_type == "multi_label":
        truth_NL = (random.random((documents, labels)) < sigmoid(logits_NL)).astype(float)
    else:
        truth_NL = random.multinomial(1, softmax(logits_NL)).astype(float)
    tokens_N = random.integers(1, 20_000, documents)
    return ScoredDocuments(hotter * logits_NL, truth_NL, tokens_N, 1 + tokens_N // 4000)


@st.composite
def any_examples(draw: st.DrawFn, problem_type: ProblemType, least_labels: int = 1) -> ScoredDocuments:
    """Few documents, so that every border case comes up: labels that nobody has, equal scores, one document."""
    documents, labels = draw(st.integers(1, 12)), draw(st.integers(least_labels, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits_NL = random.integers(-4, 5, (documents, labels)) / 2
    if problem_type == "multi_label":
        share = draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
        truth_NL = (random.random((documents, labels)) < share).astype(float)
    else:
        truth_NL = np.eye(labels)[random.integers(0, labels, documents)]
    return examples(logits_NL, truth_NL)
