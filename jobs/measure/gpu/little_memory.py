"""Out of memory on purpose: packs are halved until they fit, and give the same logits."""

from collections.abc import Iterator

import numpy as np

from jobs.measure.benchmark.token_windows import of_length
from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.device_memory import room_for
from jobs.measure.gpu.models import model_of, rookery_of
from jobs.measure.gpu.scope import Scope

HIDDEN_STATES = 4  # of a pack, what is left: a pass needs about fifteen (inference/budget.py)
LARGEST_ERROR = {"fp32": 1e-4, "bf16": 5e-2}


def measure_little_memory(scope: Scope) -> Iterator[ResultRow]:
    """Yields the limit that the predictor found, and how far logits moved.

    Raises RuntimeError if it did not run out of memory, or the logits are others.
    """
    rookery = rookery_of(model_of(scope), scope, scope.dtype)
    predictor, config = rookery.predictor, rookery.predictor.classifier.encoder_config
    length = scope.longest // 4
    windows = of_length(length, scope.pack)
    expected = rookery(windows)
    element = predictor.classifier.encoder.embeddings.word.weight.element_size()
    with room_for(predictor, HIDDEN_STATES * scope.pack * config.hidden_size * element, scope.pack // 4):
        logits = rookery(windows)
    worst = float(np.abs(logits - expected).max())
    found = predictor.token_budget
    yield f"a pack of {scope.pack:,} tokens", {"limit found, tokens": found, "logits off by": worst}
    if not found < scope.pack or not worst < LARGEST_ERROR[scope.dtype]:
        raise RuntimeError(f"the limit found is {found:,} tokens, logits are off by {worst:.1e}")
