"""Every token's logits -> entities: where in the text something is, what it is, and how sure that is.

A document's tokens are labelled one by one, each by the window in which it has most context: the number of tokens to
the nearer end of the window's part of the document (the rule of google-research/bert's run_squad.py); the earlier
window if two have as much. So windows neither cut an entity nor list it twice.

A token's label is its most probable one, by softmax(logits / temperature). Neighbours with one kind of label are one
entity, as in transformers' aggregation strategy "simple"; its score is the mean of their probabilities. Labels may be
plain kinds (PER), or kinds behind a prefix of BIO, IOB2, BILOU or BIOES:

B, U, S     begin an entity: B-PER
I, M        go on with it, or begin one where none of their kind is under way
L, E, U, S  end it
O           is no entity
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.identity import digest
from pipeline.schema import column
from pipeline.tasks.document_scores import Ints, Tokens, lists

OUTSIDE = "O"
PREFIXED = re.compile(r"([BIMLEUS])-(.+)", re.DOTALL)
BEGINS, ENDS = "BUS", "LEUS"

ENTITY = pa.struct(
    [
        pa.field("label", pa.string()),  # the kind, without prefix
        pa.field("text", pa.string()),
        pa.field("start", pa.int32()),  # text[start:stop] of the document, in characters (Unicode code points)
        pa.field("stop", pa.int32()),
        pa.field("score", pa.float64()),
    ]
)
ENTITIES = column(
    "entities",
    pa.list_(ENTITY),
    "in the order of the text; start and stop count characters (Unicode code points) from 0, the last one excluded; "
    "score is the mean probability of the tokens",
)


@dataclass(frozen=True)
class TokenClassification:
    """Entities of a text; those scoring less than `min_score` are left out when a snapshot is published."""

    labels: tuple[str, ...]
    temperature: float = 1.0
    min_score: float = 0.0

    output = ENTITIES
    located = True
    questions = ()

    @property
    def fields(self) -> list[pa.Field]:
        return [ENTITIES]

    @property
    def key(self) -> str:
        return digest("token classification/1", self.min_score)[:16]

    @property
    def scoring(self) -> dict[str, Any]:
        return {"labels": self.labels, "temperature": self.temperature}

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "labels": list(self.labels),
            "temperature": self.temperature,
            "min_score": self.min_score,
        }

    def outputs(self, logits: pa.Table) -> pa.Array:
        tokens = Tokens.of(logits)
        window_token_D, scored = stitched(tokens), tokens.scored()
        rows = [
            self._entities(tokens, number, window_token_D[tokens.document(number)]) if number in scored else None
            for number in range(len(tokens.texts_N))
        ]
        return pa.array(rows, ENTITIES.type)

    def _entities(self, tokens: Tokens, document: int, chosen_D: Ints) -> list[dict[str, Any]]:
        """`chosen_D`: for each of the document's tokens the one of `tokens` that speaks for it, or -1."""
        text, here = tokens.texts_N[document], tokens.document(document)
        assert text is not None
        start_D, stop_D = tokens.starts_D[here], tokens.stops_D[here]
        label_D, score_D = self._labels(tokens.logits_TL[chosen_D], chosen_D >= 0)
        entities = []
        for run in entity_runs([self.labels[i] if i >= 0 else OUTSIDE for i in label_D.tolist()]):
            start, stop = int(start_D[run.first]), int(stop_D[run.last])
            if start < stop:  # not blanks alone
                score = float(score_D[run.first : run.last + 1].mean())
                entities.append(
                    {"label": run.kind, "text": text[start:stop], "start": start, "stop": stop, "score": score}
                )
        return entities

    def _labels(
        self, logits_DL: npt.NDArray[np.float32], read_D: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Each token's most probable label, -1 for tokens that no window reads, and its probability."""
        scaled_DL = logits_DL.astype(np.float64) / self.temperature
        top_D1 = scaled_DL.max(1, keepdims=True)
        label_D = np.where(read_D, scaled_DL.argmax(1), -1)
        return label_D, 1 / np.exp(scaled_DL - top_D1).sum(1)

    def decide(self, outputs: pa.Array) -> list[pa.Array]:
        entities, ends = outputs.flatten(), np.cumsum(outputs.value_lengths().to_numpy())
        is_sure = entities.field("score").to_numpy() >= self.min_score
        sure_until = np.concatenate([[0], np.cumsum(is_sure)])[ends]
        return [lists(entities.filter(pa.array(is_sure)), np.diff(sure_until, prepend=0))]


class EntityTokens(NamedTuple):
    """Neighbouring tokens that are one entity, the last included."""

    kind: str
    first: int
    last: int


def entity_runs(labels: list[str]) -> list[EntityTokens]:
    """Joins a document's token labels to its entities."""
    runs: list[EntityTokens] = []
    open_ = False  # whether the last run may go on
    for number, label in enumerate(labels):
        if label == OUTSIDE:
            open_ = False
            continue
        prefix, kind = parsed(label)
        if open_ and runs[-1].kind == kind and prefix not in BEGINS:
            runs[-1] = runs[-1]._replace(last=number)
        else:
            runs.append(EntityTokens(kind, number, number))
        open_ = prefix not in ENDS
    return runs


@cache  # there are few labels and many tokens
def parsed(label: str) -> tuple[str, str]:
    """Splits a label into prefix and kind: B-PER -> B, PER; PER -> I, PER, as transformers takes it."""
    match = PREFIXED.fullmatch(label)
    return (match[1], match[2]) if match else ("I", label)


def stitched(tokens: Tokens) -> Ints:
    """Finds for each token of the documents the one of all windows with most context, or -1 if none reads it."""
    chosen_D = np.full(len(tokens.starts_D), -1, np.int32)
    context_D = np.full(len(tokens.starts_D), -1, np.int32)
    for window in np.argsort(tokens.windows.ordinals, kind="stable").tolist():
        within = tokens.window(window)
        position_C = tokens.positions_T[within]
        (body_C,) = np.nonzero(position_C >= 0)
        token_C = tokens.first_N[tokens.windows.documents[window]] + position_C[body_C]
        order_C = np.arange(len(body_C), dtype=np.int32)
        context_C = np.minimum(order_C, order_C[::-1])
        better_C = context_C > context_D[token_C]
        chosen_D[token_C[better_C]] = within.start + body_C[better_C]
        context_D[token_C[better_C]] = context_C[better_C]
    return chosen_D
