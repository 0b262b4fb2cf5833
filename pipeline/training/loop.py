"""The loop of one worker: epochs of steps, evaluated after each, stopped when it no longer helps, kept as it goes.

A step is the sum over its packs: over the workers, which each take some of them, and over a worker's threads. The state
is written after each epoch and every so often within one; a run that was killed goes on there and ends with the same
weights.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.config.train import TrainingSettings
from pipeline.training import state
from pipeline.training.batches import Batcher, TrainingWindow
from pipeline.training.dropout import seed_dropouts
from pipeline.training.gradients import Gradients
from pipeline.training.replicas import Threads, Trained, replicated
from pipeline.training.schedule import optimizer_for, rate_factor
from pipeline.training.token_store import TokenizedDocuments
from pipeline.training.validate import SplitScore
from pipeline.training.workers import Workers

STATE, BEST_WEIGHTS = "state.pt", "best.pt"
REPORT_EVERY_S = 5.0

Report = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class TrainingProgress:
    """How far training is: steps of this epoch, and steps and tokens of all."""

    epoch: int = 0
    step: int = 0
    steps: int = 0
    tokens: int = 0
    best_loss: float = float("inf")
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Loop:
    """One phase of training, in a folder of its own for its state."""

    phase: str
    settings: TrainingSettings
    batcher: Batcher
    examples: TokenizedDocuments
    workers: Workers
    threads: Threads
    folder: Path
    state_every_s: float
    report: Report
    validate: Callable[[], SplitScore] | None = None

    def run(self, model: Trained) -> TrainingProgress:
        """Trains; afterwards the module has the best weights, and they lie in the folder as `best.pt`."""
        models = replicated(model, self.threads.count)
        gradients = [_gradients(replica) for replica in models]
        optimizer = optimizer_for(model.module, self.settings)
        place = self._restore(model.module, optimizer)
        while not self._is_done(place):
            self._epoch(models, optimizer, gradients, place)
        best = state.read_state(self.folder / BEST_WEIGHTS)
        assert best is not None
        model.module.load_state_dict(best)
        return place

    def _is_done(self, place: TrainingProgress) -> bool:
        patience = self.settings.patience
        hopeless = patience is not None and place.epoch - place.best_epoch >= patience
        return hopeless or place.epoch >= self.settings.epochs

    def _epoch(
        self,
        models: list[Trained],
        optimizer: torch.optim.Optimizer,
        gradients: list[Gradients],
        place: TrainingProgress,
    ) -> None:
        model = models[0]
        steps = self.batcher.steps(self.examples, self.settings, place.epoch)
        meter = EpochMeter(self.phase, self.report if self.workers.rank == 0 else None)
        saved = time.monotonic()
        for replica in models:
            replica.begin()
        while place.step < len(steps):
            step = steps[place.step]
            progress = (place.epoch + place.step / len(steps)) / self.settings.epochs
            loss = self._step(models, optimizer, gradients, step, place, progress)
            n_tokens = sum(window.n_tokens for windows in step for window in windows)
            place.step += 1
            place.steps += 1
            place.tokens += n_tokens
            meter.add(n_tokens, loss, place, len(steps), self.settings.epochs)
            if time.monotonic() - saved > self.state_every_s:
                self._save(model.module, optimizer, place)
                saved = time.monotonic()
        self._finish_epoch(model, place, meter)
        self._save(model.module, optimizer, place)

    def _step(
        self,
        models: list[Trained],
        optimizer: torch.optim.Optimizer,
        gradients: list[Gradients],
        packs: list[list[TrainingWindow]],
        place: TrainingProgress,
        progress: float,
    ) -> float:
        settings, own_packs = self.settings, packs[self.workers.rank :: self.workers.count]
        seed = (settings.seed, place.epoch)

        def compute(thread: int) -> None:
            seed_dropouts(models[thread].module, (*seed, place.step, self.workers.rank, thread))
            gradients[thread].clear()
            for windows in own_packs[thread :: len(models)]:
                batch = self.batcher.batch(self.examples, windows, settings.hidden_tokens, seed)
                gradients[thread].add(*models[thread].sums(batch))

        self.threads.each(compute)
        for others in gradients[1:]:  # in order, so that the sum repeats
            gradients[0].flat += others.flat
        loss = gradients[0].finish(self.workers, settings.clip_norm)
        factor = rate_factor(progress, settings.warm_up, settings.decay)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor
        optimizer.step()
        return loss

    def _finish_epoch(self, model: Trained, place: TrainingProgress, meter: "EpochMeter") -> None:
        record: dict[str, Any] = {"epoch": place.epoch + 1, "loss": meter.mean_loss}
        place.epoch, place.step = place.epoch + 1, 0
        split_score = self.validate() if self.validate else None
        loss = meter.mean_loss if split_score is None else split_score.loss
        if split_score is not None:
            record["validation"] = asdict(split_score)
        place.history.append(record)
        if split_score is None or loss < place.best_loss or not place.best_epoch:
            place.best_loss, place.best_epoch = loss, place.epoch
            if self.workers.rank == 0:
                state.write_state(self.folder / BEST_WEIGHTS, model.module.state_dict())
        if self.workers.rank == 0:
            self.report({"kind": "epoch", "phase": self.phase, "epochs": self.settings.epochs} | record)

    def _restore(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingProgress:
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = state.read_state(self.folder / STATE)
        self.workers.wait()  # nobody writes a state before all have read this one
        if saved is None:
            return TrainingProgress()
        module.load_state_dict(saved["module"])
        optimizer.load_state_dict(saved["optimizer"])
        place = TrainingProgress(**saved["place"])
        if self.workers.rank == 0:
            self._report_resumed(place, saved["saved_at"])
        return place

    def _report_resumed(self, place: TrainingProgress, saved_at: float) -> None:
        is_done = self._is_done(place)
        self.report(
            {
                "kind": "resumed",
                "phase": self.phase,
                "done": is_done,
                "epoch": place.epoch if is_done else place.epoch + 1,
                "epochs": self.settings.epochs,
                "steps": place.steps,
                "tokens": place.tokens,
                "saved_at": saved_at,
            }
        )

    def _save(self, module: nn.Module, optimizer: torch.optim.Optimizer, place: TrainingProgress) -> None:
        if self.workers.rank == 0:
            tensors = {"module": module.state_dict(), "optimizer": optimizer.state_dict()}
            progress = {"place": asdict(place), "saved_at": time.time()}
            state.write_state(self.folder / STATE, tensors | progress)


def _gradients(model: Trained) -> Gradients:
    return Gradients(p for p in model.module.parameters() if p.requires_grad)


class EpochMeter:
    """Loss and speed of an epoch, reported every few seconds."""

    def __init__(self, phase: str, report: Report | None) -> None:
        self.phase = phase
        self.report = report
        self.losses: list[float] = []
        self.tokens = 0
        self.started = self.reported = time.monotonic()

    @property
    def mean_loss(self) -> float:
        """The mean of the steps' losses; 0 before the first."""
        return sum(self.losses) / max(1, len(self.losses))

    def add(self, n_tokens: int, loss: float, place: TrainingProgress, steps: int, epochs: int) -> None:
        """Counts a step; reports the mean of the last 20 losses and tokens per second, if it is time."""
        self.losses.append(loss)
        self.tokens += n_tokens
        now = time.monotonic()
        if self.report and (now - self.reported > REPORT_EVERY_S or place.step == steps):
            self.reported = now
            recent = self.losses[-20:]
            self.report(
                {
                    "kind": "step",
                    "phase": self.phase,
                    "epoch": place.epoch + 1,
                    "epochs": epochs,
                    "step": place.step,
                    "steps": steps,
                    "loss": sum(recent) / len(recent),
                    "tokens_per_s": self.tokens / (now - self.started),
                }
            )
