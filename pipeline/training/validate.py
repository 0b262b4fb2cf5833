"""What a classifier says of whole documents, as labelling would: every window, aggregated.

Shapes: W windows, C documents, L labels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.tasks.document_scores import Windows, aggregate
from pipeline.training.batches import Batcher, TrainingWindow
from pipeline.training.model import Model
from pipeline.training.objective import score
from pipeline.training.replicas import Threads
from pipeline.training.token_store import TokenizedDocuments
from pipeline.training.workers import Workers


@dataclass(frozen=True, slots=True)
class SplitScore:
    """What a model is worth on one split; `score` is what `name` says: accuracy, micro F1 or R²."""

    loss: float
    name: str
    score: float
    documents: int


@dataclass(frozen=True, slots=True)
class Validator:
    """Measures a model as it is now: each worker computes a part of the packs, each of its threads a part of those."""

    model: Model
    batcher: Batcher
    workers: Workers
    threads: Threads

    def validate(self, documents: TokenizedDocuments) -> SplitScore:
        """Computes loss and score of `documents`; every worker gets them. All workers must call it."""
        logits_CL = self.document_logits(documents)
        target = torch.from_numpy(np.array(documents.target))
        objective = self.model.objective.to("cpu")
        loss, weight = objective.sums(torch.from_numpy(logits_CL), target, torch.ones(len(target)))
        name, score_value = score(objective.problem_type, logits_CL, documents.target)
        return SplitScore(loss=float(loss / weight), name=name, score=score_value, documents=len(documents))

    def document_logits(self, documents: TokenizedDocuments) -> npt.NDArray[np.float32]:
        """Computes logits_CL, float32: every window's, aggregated over each document."""
        packs = self.batcher.packs(self.batcher.every_window(documents))
        ordered = [window for pack in packs for window in pack]
        ends = np.cumsum([len(pack) for pack in packs]).tolist()
        logits_WL = torch.zeros(len(ordered), len(self.model.classifier.head_config.labels))
        self.model.classifier.eval()
        worker_packs = range(self.workers.rank, len(packs), self.workers.count)

        @torch.no_grad()
        def compute(thread: int) -> None:
            for number in worker_packs[thread :: self.threads.count]:
                logits = self.model.logits(self.batcher.batch(documents, packs[number])).cpu()
                logits_WL[ends[number] - len(logits) : ends[number]] = logits

        self.threads.each(compute)
        logits_WL = self.workers.sum(logits_WL.to(self.model.device)).cpu()
        return aggregate(_windows(ordered), logits_WL.numpy(), len(documents), self.batcher.policy.aggregation)


def _windows(ordered: list[TrainingWindow]) -> Windows:
    columns: list[tuple[int, int, int]] = [(w.n_tokens, w.document, w.number) for w in ordered]
    tokens, documents, ordinals = np.array(columns, np.int32).T
    return Windows(tokens, documents, ordinals)
