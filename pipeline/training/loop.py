"""The loop of one worker: epochs of steps, evaluated after each, stopped when it no longer helps, kept as it goes.

The state is written after each epoch and every so often within one; a run that was killed goes on there and ends with
the same weights.
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
from pipeline.training.batches import Batcher
from pipeline.training.replicas import Threads, Trained
from pipeline.training.stepper import Stepper
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
        stepper = Stepper.of(model, self.settings, self.batcher, self.examples, self.workers, self.threads)
        place = self._restore(model.module, stepper.optimizer)
        while not self._is_done(place):
            self._epoch(model, stepper, place)
        best = state.read_state(self.folder / BEST_WEIGHTS)
        assert best is not None
        model.module.load_state_dict(best)
        return place

    def _is_done(self, place: TrainingProgress) -> bool:
        patience = self.settings.patience
        hopeless = patience is not None and place.epoch - place.best_epoch >= patience
        return hopeless or place.epoch >= self.settings.epochs

    def _epoch(self, model: Trained, stepper: Stepper, place: TrainingProgress) -> None:
        steps = self.batcher.steps(self.examples, self.settings, place.epoch)
        meter = EpochMeter(self.phase, self.report if self.workers.rank == 0 else None)
        saved = time.monotonic()
        stepper.begin()
        while place.step < len(steps):
            packs = steps[place.step]
            progress = (place.epoch + place.step / len(steps)) / self.settings.epochs
            loss = stepper.step(packs, place.epoch, place.step, progress)
            n_tokens = sum(window.n_tokens for windows in packs for window in windows)
            place.step += 1
            place.steps += 1
            place.tokens += n_tokens
            meter.add(n_tokens, loss, place, len(steps), self.settings.epochs)
            if time.monotonic() - saved > self.state_every_s:
                self._save(model.module, stepper.optimizer, place)
                saved = time.monotonic()
        self._finish_epoch(model, place, meter)
        self._save(model.module, stepper.optimizer, place)

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
