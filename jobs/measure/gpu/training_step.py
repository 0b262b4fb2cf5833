"""A training step: time and memory, beside a loop over transformers' model. On a GPU both are in bf16, by autocast."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from jobs.measure.benchmark.timing import medians, seconds
from jobs.measure.benchmark.token_windows import TokenWindow, of_length, tokens
from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.device_memory import begin_peak, peak_gb
from jobs.measure.gpu.models import classifier_of, model_of
from jobs.measure.gpu.scope import Scope
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.model_config import EncoderConfig
from pipeline.training.batches import Batch
from pipeline.training.dropout import replace_dropouts
from pipeline.training.gradients import Gradients
from pipeline.training.model import Model, autocast
from pipeline.training.objective import Objective
from pipeline.training.workers import Workers

DROPOUT = 0.1  # as in transformers' config
CLIP_NORM, RATE = 1.0, 1e-5
BATCHES = (1, 2, 4, 8)  # of transformers', which keeps all scores for the way back

_Step = Callable[[], float]


def measure_training_step(scope: Scope) -> Iterator[ResultRow]:
    """Yields a row for each; raises RuntimeError where a loss is not finite."""
    model = model_of(scope)
    windows = of_length(scope.longest, scope.training_pack * scope.training_packs)
    rookery = _our_step(model, windows, scope)
    row = _measured(rookery, windows, scope)
    yield "rookery", row
    theirs, batch = _their_best_step(model, windows, scope)
    taken = medians({"rookery": rookery, "transformers": theirs}, scope.rounds, scope.device)
    yield f"transformers, batches of {batch}", _measured(theirs, windows, scope)
    yield "rookery beside transformers", {"x transformers": taken["transformers"] / taken["rookery"]}
    if not np.isfinite(row["loss"]):
        raise RuntimeError("the loss is not finite")


def _measured(step: _Step, windows: Sequence[TokenWindow], scope: Scope) -> dict[str, float]:
    step()  # the optimizer makes its tensors
    begin_peak(scope.device)
    loss = step()
    peak = peak_gb(scope.device)
    taken = medians({"step": step}, scope.rounds, scope.device)["step"]
    return {"tokens/s": tokens(windows) / taken, "seconds a step": taken, "peak GB": peak, "loss": loss}


def _our_step(model: Any, windows: Sequence[TokenWindow], scope: Scope) -> _Step:
    """What `rookery train` does with a step of several packs, on one device."""
    classifier = classifier_of(model)
    replace_dropouts(classifier, DROPOUT)
    trained = Model(classifier, Objective("single_label"), scope.device, scope.dtype, head_only=False)
    trained.begin()
    gradients = Gradients(classifier.parameters())
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=RATE, fused=True)
    count = max(1, scope.training_pack // scope.longest)
    packs = [windows[start : start + count] for start in range(0, len(windows), count)]
    batches = [_batch(pack, classifier.encoder_config) for pack in packs]

    def step() -> float:
        gradients.clear()
        for batch in batches:
            gradients.add(*trained.sums(batch))
        loss = gradients.finish(Workers(), CLIP_NORM)
        optimizer.step()
        return loss

    return step


def _batch(windows: Sequence[TokenWindow], config: EncoderConfig) -> Batch:
    layout = Layout.of([len(window) for window in windows], config)
    token_id_T = layout.spread(torch.from_numpy(np.concatenate(windows).astype(np.int64)))
    return Batch(token_id_T, token_id_T, layout, _targets(len(windows)), torch.ones(len(windows)))


def _targets(count: int) -> torch.Tensor:
    return torch.arange(count) % 5


def _their_best_step(model: Any, windows: Sequence[TokenWindow], scope: Scope) -> tuple[_Step, int]:
    """The step in batches of the size that is fastest and fits."""
    best: tuple[float, int] = (float("inf"), BATCHES[0])
    for batch in BATCHES:
        try:
            step = _their_step(model, windows, scope, batch)
            step()
            best = min(best, (seconds(step, scope.device), batch))
        except torch.OutOfMemoryError:
            break
    return _their_step(model, windows, scope, best[1]), best[1]


def _their_step(model: Any, windows: Sequence[TokenWindow], scope: Scope, batch: int) -> _Step:
    theirs = copy.deepcopy(model).to(scope.device).train()
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=RATE, fused=True)
    token_id_WS = torch.from_numpy(np.stack(windows).astype(np.int64)).to(scope.device)
    target_W = _targets(len(windows)).to(scope.device)

    def step() -> float:
        optimizer.zero_grad()
        losses = []
        for ids, target in zip(torch.split(token_id_WS, batch), torch.split(target_W, batch), strict=True):
            theirs.bert.set_attention_type("block_sparse")
            with autocast(scope.device, scope.dtype):
                loss = theirs(ids, labels=target).loss * (len(ids) / len(windows))
            loss.backward()
            losses.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), CLIP_NORM)
        optimizer.step()
        return float(torch.stack(losses).sum())

    return step
