"""One step: the sum over its packs, over the workers, which each take some of them, and over a worker's threads."""

from dataclasses import dataclass

import torch

from pipeline.config.train import TrainingSettings
from pipeline.training.batches import Batcher, TrainingWindow
from pipeline.training.dropout import seed_dropouts
from pipeline.training.gradients import Gradients
from pipeline.training.replicas import Threads, Trained, replicated
from pipeline.training.schedule import optimizer_for, rate_factor
from pipeline.training.token_store import TokenizedDocuments
from pipeline.training.workers import Workers


@dataclass(frozen=True, slots=True)
class Stepper:
    """What this worker makes its part of each step with: the model and its replicas, gradients and optimizer."""

    settings: TrainingSettings
    batcher: Batcher
    examples: TokenizedDocuments
    workers: Workers
    threads: Threads
    models: list[Trained]
    gradients: list[Gradients]
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(
        cls,
        model: Trained,
        settings: TrainingSettings,
        batcher: Batcher,
        examples: TokenizedDocuments,
        workers: Workers,
        threads: Threads,
    ) -> "Stepper":
        """Makes a replica of `model` for each thread; the first is the model itself, which learns."""
        models = replicated(model, threads.count)
        gradients = [Gradients(p for p in replica.module.parameters() if p.requires_grad) for replica in models]
        optimizer = optimizer_for(model.module, settings)
        return cls(settings, batcher, examples, workers, threads, models, gradients, optimizer)

    def begin(self) -> None:
        """Switches train mode on, in every thread's model."""
        for model in self.models:
            model.begin()

    def step(self, packs: list[list[TrainingWindow]], epoch: int, number: int, progress: float) -> float:
        """Makes step `number` of an epoch, `progress` (0 to 1) of the way through all of them; gives its loss."""
        settings, own_packs = self.settings, packs[self.workers.rank :: self.workers.count]
        seed = (settings.seed, epoch)

        def compute(thread: int) -> None:
            seed_dropouts(self.models[thread].module, (*seed, number, self.workers.rank, thread))
            self.gradients[thread].clear()
            for windows in own_packs[thread :: len(self.models)]:
                batch = self.batcher.batch(self.examples, windows, settings.hidden_tokens, seed)
                self.gradients[thread].add(*self.models[thread].sums(batch))

        self.threads.each(compute)
        first, *others = self.gradients
        for other in others:  # in order, so that the sum repeats
            first.flat += other.flat
        loss = first.finish(self.workers, settings.clip_norm)
        factor = rate_factor(progress, settings.warm_up, settings.decay)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor
        self.optimizer.step()
        return loss
