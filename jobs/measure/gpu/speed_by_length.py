"""Tokens and documents a second by length, beside transformers at its best batch size."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from jobs.measure.benchmark.contenders import Contender, Transformers, best_batch, say
from jobs.measure.benchmark.timing import medians
from jobs.measure.benchmark.token_windows import TokenWindow, of_length, tokens
from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.models import TORCH_DTYPES, FullAttention, by_sdpa, model_of, rookery_of
from jobs.measure.gpu.scope import Scope

FIRST_BATCH = 8_192  # tokens: smaller ones take a GPU as long


def measure_speed_by_length(scope: Scope) -> Iterator[ResultRow]:
    """Yields a row for each length, the longest first; all in the fast dtype, medians of interleaved rounds."""
    model = model_of(scope)
    rookery = rookery_of(model, scope, scope.dtype)
    theirs = model.to(scope.device, TORCH_DTYPES[scope.dtype])
    others: dict[str, Callable[[int], Any]] = {
        "transformers": partial(Transformers, theirs, scope.device),
        "full attention by SDPA": partial(FullAttention, by_sdpa(copy.deepcopy(theirs)), scope.device),
    }
    for length in reversed(scope.lengths):
        windows = of_length(length, scope.tokens)
        rookery(windows)  # compiles what this length needs
        yield f"{length:,} tokens", _compared(rookery, others, windows, scope)


def _compared(
    rookery: Contender, others: dict[str, Callable[[int], Any]], windows: list[TokenWindow], scope: Scope
) -> dict[str, float]:
    first = max(1, min(len(windows), FIRST_BATCH // len(windows[0])))
    batches = {}
    for name, contender_of in others.items():
        say(f"{len(windows[0])} tokens, {name}")
        batches[name] = best_batch(contender_of, windows, scope.device, first=first) or 1
    contenders = {"rookery": rookery} | {name: others[name](batch) for name, batch in batches.items()}
    works = {name: partial(contender, windows) for name, contender in contenders.items()}
    taken = medians(works, scope.rounds, scope.device)
    figures = {"tokens/s": tokens(windows) / taken["rookery"], "documents/s": len(windows) / taken["rookery"]}
    for name, batch in batches.items():
        figures[f"{name}, tokens/s"] = tokens(windows) / taken[name]
        figures[f"{name}, batch"] = batch
        figures[f"x {name}"] = taken[name] / taken["rookery"]
    return figures
