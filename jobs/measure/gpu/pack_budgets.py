"""Tokens a second by the size of a pack, up to the largest that fits."""

from collections.abc import Iterator
from functools import partial

from jobs.measure.benchmark.timing import medians
from jobs.measure.benchmark.token_windows import of_length, tokens
from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.device_memory import begin_peak, peak_gb
from jobs.measure.gpu.models import model_of, rookery_of
from jobs.measure.gpu.scope import Scope

NO_LIMIT = 2**40
PACKS = 2  # of each size, at least


def measure_pack_budgets(scope: Scope) -> Iterator[ResultRow]:
    """Yields a row for each size, until one does not fit: the predictor halves that, and remembers it."""
    rookery = rookery_of(model_of(scope), scope, scope.dtype)
    predictor = rookery.predictor
    yield "the predictor's own limit", {"tokens a pack": predictor.token_budget}
    for budget in scope.budgets:
        rookery.budget, predictor.token_budget = budget, NO_LIMIT
        windows = of_length(scope.longest, max(scope.tokens, PACKS * budget))
        begin_peak(scope.device)
        rookery(windows)
        taken = medians({"pass": partial(rookery, windows)}, scope.rounds, scope.device)["pass"]
        figures = {"tokens/s": tokens(windows) / taken, "peak GB": peak_gb(scope.device)}
        if predictor.token_budget != NO_LIMIT:
            yield f"packs of {budget:,} tokens do not fit", figures | {"tokens a pack": predictor.token_budget}
            return
        yield f"packs of {budget:,} tokens", figures | {"tokens a pack": budget}
