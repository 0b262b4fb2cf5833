"""What the figures should reach on one H100."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure of a step's row, and its bound: the least it should be, or the most."""

    title: str
    step: str
    row: str
    figure: str
    bound: float
    is_least: bool = True

    def holds(self, value: float) -> bool:
        """Tells whether `value` is on the right side of the bound."""
        return value >= self.bound if self.is_least else value <= self.bound


BARS = (
    Bar("fp32 logits beside transformers'", "parity", "the worst", "rookery fp32 off by", 1e-5, is_least=False),
    Bar("documents with the label of fp32", "parity", "the sample's documents", "same label", 0.999),
    Bar("tokens/s at 4,096 tokens", "speed", "4,096 tokens", "tokens/s", 2.1e6),
    Bar("times transformers at 4,096 tokens", "speed", "4,096 tokens", "x transformers", 12),
    Bar("documents/s at 512 tokens", "speed", "512 tokens", "documents/s", 4_000),
    Bar("MFU at 4,096 tokens", "floor", "a pass of 4,096 tokens a window", "MFU", 0.4),
    Bar("GPU idle while it is fed", "feeding", "fed", "GPU idle", 0.03, is_least=False),
)


def judged(steps: Mapping[str, Any]) -> Iterator[tuple[Bar, float | None]]:
    """Gives each bar with what was measured, by the steps' rows; None where it was not."""
    for bar in BARS:
        rows = dict(steps.get(bar.step, {}).get("rows", ()))
        yield bar, rows.get(bar.row, {}).get(bar.figure)
