"""What a classifier says of whole documents, as labelling would: every window, aggregated.

Shapes: W windows, D documents, L labels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.tasks.windows import Windows, aggregate
from pipeline.training.batches import Batcher, Window
from pipeline.training.examples import Examples
from pipeline.training.model import Model
from pipeline.training.objective import score
from pipeline.training.replicas import Threads
from pipeline.training.workers import Workers


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`score` is what `name` says: accuracy, micro F1 or R²."""

    loss: float
    name: str
    score: float
    documents: int


def evaluate(
    model: Model,
    batcher: Batcher,
    examples: Examples,
    aggregation: str,
    workers: Workers,
    threads: Threads,
) -> Evaluation:
    """What the model is worth, known to every worker; each computes its part of the packs, and each of its threads a part of those."""
    logits_DL = document_logits(model, batcher, examples, aggregation, workers, threads)
    target = torch.from_numpy(np.array(examples.target))
    objective = model.objective.to("cpu")
    loss, weight = objective.sums(torch.from_numpy(logits_DL), target, torch.ones(len(target)))
    name, value = score(objective.problem_type, logits_DL, examples.target)
    return Evaluation(float(loss / weight), name, value, len(examples))


def document_logits(
    model: Model,
    batcher: Batcher,
    examples: Examples,
    aggregation: str,
    workers: Workers,
    threads: Threads,
) -> npt.NDArray[np.float32]:
    """logits_DL."""
    packs = batcher.packs(batcher.every_window(examples))
    ordered = [window for pack in packs for window in pack]
    ends = np.cumsum([len(pack) for pack in packs]).tolist()
    logits_WL = torch.zeros(len(ordered), len(model.classifier.head_config.labels))
    model.classifier.eval()
    own_packs = range(workers.rank, len(packs), workers.count)

    @torch.no_grad()
    def compute(thread: int) -> None:
        for number in own_packs[thread :: threads.count]:
            logits = model.logits(batcher.batch(examples, packs[number])).cpu()
            logits_WL[ends[number] - len(logits) : ends[number]] = logits

    threads.each(compute)
    logits_WL = workers.sum(logits_WL.to(model.device)).cpu()
    return aggregate(_windows(ordered), logits_WL.numpy(), len(examples), aggregation)


def _windows(ordered: list[Window]) -> Windows:
    columns: list[tuple[int, int, int]] = [(w.n_tokens, w.document, w.number) for w in ordered]
    tokens, documents, ordinals = np.array(columns, np.int32).T
    return Windows(tokens, documents, ordinals)
