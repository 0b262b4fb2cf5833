"""Logits beside those of transformers, and labels beside those of fp32.

What is exact is transformers in float64, each document alone: whoever computes in float32 is off by about 1e-6.
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch

from jobs.measure.benchmark.agreement import measure_agreement
from jobs.measure.benchmark.contenders import Contender, Transformers
from jobs.measure.benchmark.token_windows import TokenWindow, of_length, of_texts, read_texts
from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.models import TORCH_DTYPES, rookery_of, telling_model
from jobs.measure.gpu.scope import Scope
from jobs.sample import CORPUS

LEAST_SAME_LABELS = 0.99  # below that something is wrong, rather than rounded


def measure_parity(scope: Scope) -> Iterator[ResultRow]:
    """Yields how far logits are off, by length, in packs and in padded batches; then the sample's labels."""
    model = telling_model(scope)
    lengths = [*scope.parity_lengths, *_filling_one_number_of_blocks(scope.longest, model.config.block_size)]
    windows = [of_length(length, length)[0] for length in lengths]
    rookery = {f"rookery {dtype}": rookery_of(model, scope, dtype) for dtype in ("fp32", scope.dtype)}
    exact = Transformers(copy.deepcopy(model).double().to(scope.device), scope.device, 1)(windows)
    contenders: dict[str, Contender] = dict(rookery)
    for dtype in ("fp32", scope.dtype):
        theirs = copy.deepcopy(model).to(scope.device, TORCH_DTYPES[dtype])
        contenders[f"transformers {dtype}"] = Transformers(theirs, scope.device, 1)
    off = {name: np.abs(contender(windows) - exact).max(1) for name, contender in contenders.items()}
    for number, length in enumerate(lengths[: len(scope.parity_lengths)]):
        yield f"{length:,} tokens", {f"{name} off by": float(of_each[number]) for name, of_each in off.items()}
    yield "the worst", {f"{name} off by": float(of_each.max()) for name, of_each in off.items()}
    padded = windows[len(scope.parity_lengths) :]
    yield "padded batches", _beside_padded(model.to(scope.device), rookery["rookery fp32"], padded, scope)
    texts = of_texts(read_texts(str(CORPUS)), scope.documents)
    (agreement,) = measure_agreement(texts, [scope.dtype], scope.device)
    yield (
        "the sample's documents",
        {"same label": agreement.same_label, f"rookery {scope.dtype} off by": agreement.worst_logit},
    )
    worst = float(off["rookery fp32"].max())
    if not worst < 1e-3 or not agreement.same_label > LEAST_SAME_LABELS:  # NaN is wrong too
        raise RuntimeError(f"logits are off by {worst:.1e}, {agreement.same_label:.1%} of the labels are the same")


def _filling_one_number_of_blocks(longest: int, block: int) -> list[int]:
    """Lengths that padding to the longest leaves as they are: elsewhere transformers' logits depend on it."""
    return list(range(longest - block + 1, longest + 1, block // 2))


@torch.inference_mode()
def _beside_padded(model: object, rookery: Contender, windows: list[TokenWindow], scope: Scope) -> dict[str, float]:
    padded = Transformers(model, scope.device, len(windows))(windows)
    return {"rookery fp32 off by": float(np.abs(rookery(windows) - padded).max())}
