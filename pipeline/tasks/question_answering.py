"""Start and end logits of every token -> for each question the answer of each document, or that it has none.

By the convention of SQuAD 2 (google-research/bert, run_squad.py; transformers' examples, utils_qa.py):

* A span's logit is its first token's start logit + its last token's end logit. Spans have at most ANSWER_TOKENS tokens.
* "No answer" is the span of [CLS]; of several windows the one with the lowest logit counts: each must say that it has
  none.
* The SPANS_KEPT best spans of all windows and "no answer" compete: score = softmax of their logits. A span that is in
  two windows, or that other tokens with blanks around it give as well, counts once, with its best logit.
* There is no answer where the logit of "no answer" is more than `no_answer_threshold` above the best span's. 0 is what
  is more probable; a checkpoint's own threshold is found on its validation data; a large one always answers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.identity import digest
from pipeline.schema import column
from pipeline.tasks.document_scores import Tokens

ANSWER_TOKENS = 64
SPANS_KEPT = 20

Candidates = npt.NDArray[np.float64]  # rows of start, stop, logit

SPAN = pa.struct(
    [
        pa.field("start", pa.int32()),
        pa.field("stop", pa.int32()),
        pa.field("logit", pa.float32()),
    ]
)
BEST = pa.struct(
    [
        pa.field("null_logit", pa.float32()),
        pa.field("spans", pa.list_(SPAN)),  # best first
        pa.field("text", pa.string()),  # of the first; null if there is none
    ]
)
ANSWER = pa.struct(
    [
        pa.field("question", pa.string()),
        pa.field("answer", pa.string()),  # null: the document has none
        pa.field("start", pa.int32()),  # text[start:stop] of the document, in characters (Unicode code points)
        pa.field("stop", pa.int32()),
        pa.field("score", pa.float64()),  # of the answer, or of there being none
    ]
)
BESTS = pa.field("answers", pa.list_(BEST))  # one for each question
ANSWERS = column(
    "answers",
    pa.list_(ANSWER),
    "one for each question, in the job file's order; answer, start and stop are null where there is none, and score "
    "is then the probability of that; start and stop count characters (Unicode code points) from 0, the last one "
    "excluded",
)


@dataclass(frozen=True)
class QuestionAnswering:
    """Answers to `questions`, asked of every document: spans of its text, or that it has none."""

    questions: tuple[str, ...]
    no_answer_threshold: float = 0.0
    temperature: float = 1.0

    output = BESTS
    located = True

    @property
    def fields(self) -> list[pa.Field]:
        return [ANSWERS]

    @property
    def key(self) -> str:
        return digest("question answering/1", self.no_answer_threshold, self.temperature)[:16]

    @property
    def scoring(self) -> dict[str, Any]:
        return {"questions": self.questions, "spans": [ANSWER_TOKENS, SPANS_KEPT]}

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "questions": list(self.questions),
            "temperature": self.temperature,
            "no_answer_threshold": self.no_answer_threshold,
        }

    def outputs(self, logits: pa.Table) -> pa.Array:
        tokens = Tokens.of(logits)
        windows: dict[tuple[int, int], list[int]] = {}
        documents_and_questions = zip(tokens.windows.documents.tolist(), tokens.questions_W.tolist(), strict=True)
        for window, document_and_question in enumerate(documents_and_questions):
            windows.setdefault(document_and_question, []).append(window)
        scored = tokens.scored()
        rows = [
            [_best(tokens, text, windows[document, n]) for n in range(len(self.questions))]
            if document in scored and text is not None
            else None
            for document, text in enumerate(tokens.texts_N)
        ]
        return pa.array(rows, BESTS.type)

    def decide(self, outputs: pa.Array) -> list[pa.Array]:
        rows = [
            [self._answer(q, best) for q, best in zip(self.questions, bests, strict=True)]
            for bests in outputs.to_pylist()
        ]
        return [pa.array(rows, ANSWERS.type)]

    def _answer(self, question: str, best: dict[str, Any]) -> dict[str, Any]:
        null, spans = best["null_logit"], best["spans"]
        logits = np.array([null, *(span["logit"] for span in spans)]) / self.temperature
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        if not spans or null - spans[0]["logit"] > self.no_answer_threshold:
            return {"question": question, "score": shares[0]}
        first = spans[0]
        return {
            "question": question,
            "answer": best["text"],
            "start": first["start"],
            "stop": first["stop"],
            "score": shares[1],
        }


def _best(tokens: Tokens, text: str, windows: list[int]) -> dict[str, Any]:
    """Of the windows of one document and one question: BEST."""
    nulls = [tokens.logits_TL[tokens.first_W[window]].sum(dtype=np.float64) for window in windows]
    bests = best_spans(np.concatenate([_window_spans(tokens, window) for window in windows]))
    spans = [{"start": int(a), "stop": int(b), "logit": logit} for a, b, logit in bests.tolist()]
    answer = text[spans[0]["start"] : spans[0]["stop"]] if spans else None
    return {"null_logit": min(nulls), "spans": spans, "text": answer}


def _window_spans(tokens: Tokens, window: int) -> Candidates:
    """The best spans of a window, and those as good as the last of them."""
    within = tokens.window(window)
    body_T = tokens.positions_T[within] >= 0
    position_C = tokens.positions_T[within][body_T]
    token_C = tokens.first_N[tokens.windows.documents[window]] + position_C
    start_C, end_C = tokens.logits_TL[within][body_T].astype(np.float64).T
    from_C, to_C = tokens.starts_D[token_C], tokens.stops_D[token_C]
    # the tokens that a span from token c may end with: c itself and those behind it, as far as there are any
    to_CA, end_CA, position_CA = (_followers(x) for x in (to_C, end_C, position_C))
    logit_CA = start_C[:, None] + end_CA
    whole_CA = position_CA - position_C[:, None] == np.arange(ANSWER_TOKENS)  # no gap within
    logit_CA[~whole_CA | (from_C[:, None] >= to_CA)] = -np.inf
    few = min(SPANS_KEPT, logit_CA.size)
    bar = np.partition(logit_CA, logit_CA.size - few, axis=None)[logit_CA.size - few]
    c, a = np.nonzero((logit_CA >= bar) & np.isfinite(logit_CA))
    return np.stack([from_C[c], to_CA[c, a], logit_CA[c, a]], axis=1)


def _followers(values_C: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[C, ANSWER_TOKENS]: each value and those after it; behind the end, -1."""
    padded = np.append(values_C, np.full(ANSWER_TOKENS - 1, -1, values_C.dtype))
    return np.lib.stride_tricks.sliding_window_view(padded, ANSWER_TOKENS)


def best_spans(candidates: Candidates) -> Candidates:
    """Picks the SPANS_KEPT best of different spans, best first, the earlier and shorter of equals first."""
    start, stop, logit = candidates.T
    candidates = candidates[np.lexsort((stop, start, -logit))]
    _, first = np.unique(candidates[:, :2], axis=0, return_index=True)
    return candidates[np.sort(first)][:SPANS_KEPT]
