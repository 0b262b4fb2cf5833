"""What each step reads: windows, packs, and which worker has which.

An epoch's steps are a function of the examples, the settings and the epoch's number. They do not depend on the number
of workers: each takes some of a step's packs, so that one worker and several make the same step.

Shapes: N tokens of a pack without padding, W windows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.model_config import EncoderConfig
from pipeline.text.packing import pack
from pipeline.text.windows import Span, WindowPolicy
from pipeline.training.token_store import Ids, TokenizedDocuments

if TYPE_CHECKING:  # a step is measured where there is no pydantic
    from pipeline.config.train import TrainingSettings


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """A part of a document; `weight` is its share of the document's target. `number` counts the document's windows."""

    document: int
    number: int
    spans: tuple[Span, ...]
    weight: float

    @property
    def n_tokens(self) -> int:
        """Tokens of the window, [CLS] and [SEP] included."""
        return 2 + sum(stop - start for start, stop in self.spans)


@dataclass(frozen=True, slots=True)
class Batch:
    """One pack, on the CPU."""

    token_id_T: torch.Tensor
    original_id_T: torch.Tensor  # before any were hidden
    layout: Layout
    target: torch.Tensor  # of each window's document
    weight_W: torch.Tensor


@dataclass(frozen=True, slots=True)
class Batcher:
    """Cuts documents into windows and lays them out in packs of at most `budget` tokens."""

    config: EncoderConfig
    policy: WindowPolicy
    cls_id: int
    sep_id: int
    mask_id: int | None
    budget: int

    def steps(
        self, examples: TokenizedDocuments, settings: "TrainingSettings", epoch: int
    ) -> list[list[list[TrainingWindow]]]:
        """Draws an epoch's steps, each a list of packs; the same for one seed and epoch, whatever the workers."""
        random = np.random.default_rng([settings.seed, epoch])
        order = random.permutation(len(examples)).tolist()
        length_C = examples.length_C.tolist()
        windows = [w for document in order for w in self._windows(document, length_C[document], settings, random)]
        return [self.packs(part) for part in self._parts(windows, settings.tokens_per_step)]

    def every_window(self, examples: TokenizedDocuments) -> list[TrainingWindow]:
        """Cuts all documents into windows, as labelling does."""
        return [
            window
            for document, length in enumerate(examples.length_C.tolist())
            for window in self._all(document, length)
        ]

    def packs(self, windows: list[TrainingWindow]) -> list[list[TrainingWindow]]:
        """Puts windows into packs of at most `budget` tokens, whole blocks counted."""
        lengths = [window.n_tokens for window in windows]
        packs = pack(lengths, budget=self.budget, block_size=self.config.block_size)
        return [[windows[i] for i in members] for members in packs]

    def batch(
        self,
        examples: TokenizedDocuments,
        windows: list[TrainingWindow],
        hidden: float = 0.0,
        seed: tuple[int, ...] = (),
    ) -> Batch:
        """Makes a pack's tensors; [MASK] replaces a share `hidden` of its tokens, the same of a window in any pack."""
        ids = [self._ids(examples, window) for window in windows]
        visible = [self._hide(*pair, hidden, seed) for pair in zip(ids, windows, strict=True)]
        layout = Layout.of(np.array([len(part) for part in ids]), self.config)
        documents = [window.document for window in windows]
        return Batch(
            layout.spread(torch.from_numpy(np.concatenate(visible))),
            layout.spread(torch.from_numpy(np.concatenate(ids))),
            layout,
            torch.from_numpy(examples.target[documents]),
            torch.tensor([window.weight for window in windows]),
        )

    def _windows(
        self, document: int, length: int, settings: "TrainingSettings", random: np.random.Generator
    ) -> Iterator[TrainingWindow]:
        if settings.windows == "all" or self.policy.long_documents == "head_tail":
            yield from self._all(document, length)
            return
        longest = min(length, self.policy.body)
        size = longest
        if settings.shortest_stretch is not None:
            size = int(random.integers(min(settings.shortest_stretch, longest), longest + 1))
        readable = length if self.policy.long_documents == "windows" else longest
        start = int(random.integers(0, readable - size + 1))
        yield TrainingWindow(document, 0, ((start, start + size),), 1.0)

    def _all(self, document: int, length: int) -> Iterator[TrainingWindow]:
        windows = self.policy.windows(length)
        for number, window in enumerate(windows):
            yield TrainingWindow(document, number, window.spans, 1 / len(windows))

    def _parts(self, windows: list[TrainingWindow], tokens: int) -> Iterator[list[TrainingWindow]]:
        size = self.config.block_size
        part: list[TrainingWindow] = []
        part_rows = 0
        for window in windows:
            rows = -(-window.n_tokens // size) * size
            if part and part_rows + rows > tokens:
                yield part
                part, part_rows = [], 0
            part.append(window)
            part_rows += rows
        if part:
            yield part

    def _ids(self, examples: TokenizedDocuments, window: TrainingWindow) -> Ids:
        ids = examples.ids(window.document)
        body = [ids[start:stop] for start, stop in window.spans]
        return np.concatenate([[self.cls_id], *body, [self.sep_id]]).astype(np.int64)

    def _hide(self, ids: Ids, window: TrainingWindow, share: float, seed: tuple[int, ...]) -> Ids:
        """A share of the tokens, [CLS] and [SEP] never."""
        if not share:
            return ids
        assert self.mask_id is not None, "prepare.py refuses a vocabulary without it"
        random = np.random.default_rng([*seed, window.document, window.number])
        hidden = random.random(len(ids)) < share
        hidden[[0, -1]] = False
        return np.where(hidden, self.mask_id, ids)
