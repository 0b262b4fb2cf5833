"""From some places of a corpus to all of it: totals, and how sure they are.

Places lie at equal distances along the corpus's stored bytes, from a random first one on, in an order in which
neighbours are alike. So each stands for as many bytes as any other, which is a sample stratified by that order with
a place in each stratum. At place k something is counted per byte, y_k, as tokens. Of B bytes and n places

    total     B · mean(y)
    variance  B² / n · Σ (y_k − y_k−1)² / 2(n − 1)

which is the variance that neighbours have, for what differs from one end of the corpus to the other is no error where
every part has its places (Wolter, Introduction to Variance Estimation, 2007, chapter 8). It is a little too large where
neighbours differ by the order. The interval is Student's, of n − 1 degrees of freedom.

Sampling theory says nothing of what no place can reach: the rest of a compressed file, of which only the beginning is
read, or the hours that a computer will be as busy as it is now. For these an error is added that is a guess.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimated:
    """A figure and the interval that covers it in 95 of 100 samples; of no width where it is known."""

    value: float
    low: float
    high: float

    @classmethod
    def known(cls, value: float) -> "Estimated":
        """Makes a figure that is no estimate."""
        return cls(value, value, value)

    @classmethod
    def around(cls, value: float, relative_error: float, degrees: float) -> "Estimated":
        """Makes Student's interval around a figure that can't be negative.

        `relative_error`: its standard error as a share of it.
        """
        from scipy.stats import t  # takes half a second

        half = value * relative_error * float(t.ppf((1 + CONFIDENCE) / 2, degrees)) if value else 0.0
        return cls(value, max(0.0, value - half), value + half)

    def times(self, factor: float) -> "Estimated":
        """Multiplies it by what is known."""
        return Estimated(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, summand: float) -> "Estimated":
        """Adds what is known."""
        return Estimated(self.value + summand, self.low + summand, self.high + summand)

    def over(self, divisor: "Estimated") -> "Estimated":
        """Divides it by another estimate, whose error has nothing to do with its own."""
        value = self.value / divisor.value
        half = value * float(np.hypot(self.relative_half_width, divisor.relative_half_width))
        return Estimated(value, max(0.0, value - half), value + half)

    @property
    def relative_half_width(self) -> float:
        """How far the interval goes to either side, as a share of the figure."""
        return (self.high - self.low) / 2 / self.value if self.value else 0.0


def total_of(per_byte: npt.NDArray[np.float64], n_bytes: float, unseen_error: float = 0.0) -> Estimated:
    """Estimates a total of `n_bytes` from what was counted per byte at n places, in their order; n is 2 or more.

    `unseen_error`: a relative standard error that the places can't show.
    """
    n = len(per_byte)
    mean = float(per_byte.mean())
    error = float(np.sqrt((np.diff(per_byte) ** 2).sum() / (2 * (n - 1)) / n))
    relative = float(np.hypot(error / mean, unseen_error)) if mean else 0.0
    return Estimated.around(mean * n_bytes, relative, n - 1)
