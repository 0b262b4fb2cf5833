"""LOGITS rows of heads that look at every token, made by hand: each letter of a text is a token."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from pipeline.schema import LOCATED_FIELDS, LOGITS
from pipeline.text.offsets import locate
from pipeline.text.windows import WindowPolicy

# of a document, a question and the tokens of it that a window reads: their logits, and those of [CLS]
Head = Callable[[int, int, list[int]], tuple[np.ndarray, np.ndarray]]


def row(texts: list[str | None], policy: WindowPolicy, head: Head, questions: int = 1, seed: int = 0) -> pa.Table:
    """What comes out of the encoder; windows lie in any order, as in packs."""
    windows = [
        (document, question, ordinal, window)
        for document, text in enumerate(texts)
        if text is not None
        for question in range(questions)
        for ordinal, window in enumerate(policy.windows(len(text)))
    ]
    order = np.random.default_rng(seed).permutation(len(windows)).tolist()
    windows = [windows[i] for i in order]
    positions: list[int] = []
    logits: list[np.ndarray] = []
    for document, question, _, window in windows:
        body = [i for start, stop in window.spans for i in range(start, stop)]
        of_body, of_cls = head(document, question, body)
        others = np.full((1, of_body.shape[1]), 99.0)  # nobody may look at those
        before = np.repeat(others, window.question_tokens, 0)
        logits += [of_cls[None], before, of_body, others]
        positions += [-1] * (1 + window.question_tokens) + body + [-1]
    records = [
        {"id": str(i), "position": i} | ({} if text is None else {"n_tokens": len(text)})
        for i, text in enumerate(texts)
    ]
    letters = [
        locate(text, [0] * len(text), [(i, i + 1) for i in range(len(text))]) for text in texts if text is not None
    ]
    values = {
        "unit": "u",
        "documents": records,
        "window_tokens": [window.n_tokens for *_, window in windows],
        "window_documents": [document for document, *_ in windows],
        "window_ordinals": [ordinal for *_, ordinal, _ in windows],
        "texts": texts,
        "token_starts": [int(i) for located in letters for i in located.starts],
        "token_stops": [int(i) for located in letters for i in located.stops],
        "positions": positions,
        "window_questions": [question for _, question, *_ in windows],
        "logits": [x for part in logits for x in part.ravel().tolist()],
    }
    schema = pa.schema([*LOGITS, *LOCATED_FIELDS])
    return pa.Table.from_pylist([values], schema=schema)
