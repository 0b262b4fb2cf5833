"""The products with weights; one signature for every implementation, so callers never branch.

A row's result never depends on how many others are computed with it, to the last bit, so that scores of a document
that were computed in one pack stand for those of any other. Libraries don't promise that: by the number of rows they
choose how a sum is cut. Measured with oneDNN on a CPU with AMX: bfloat16, 768 inputs, 64 rows differ from 4,096 in
their last bits. So on a CPU every call has the same number of rows, and the last ones are filled up.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.bigbird.cache import at_once
from pipeline.terms import Activation

# Of one call on a CPU, where operators.py names no other number.
ROWS = 256
ANY_ROWS = 2**62

Outputs = tuple[int, int]  # from, to


class Product(Protocol):
    """A product with one weight and bias, of rows of any number."""

    def __call__(self, x_RI: Tensor, outputs: Outputs | None = None) -> Tensor:
        """The product x @ weight.T + bias -> y_RO, of some outputs only if asked for."""

    def activated(self, x_RI: Tensor, activation: Activation) -> Tensor:
        """Computes activation(x @ weight.T + bias) -> y_RO, of all outputs."""


class MakeProduct(Protocol):
    """Makes a device's product of a `Linear`."""

    def __call__(self, linear: "Linear", outputs: Iterable[Outputs | None], rows: int = ROWS) -> Product:
        """What to use in place of `linear`, for the `outputs` that will be asked for.

        `rows` are those of one call on a CPU: a product that rounds alike whatever their number needs no such number.
        """


def keep(linear: "Linear", outputs: Iterable[Outputs | None], rows: int = ROWS) -> Product:
    """Makes a product of a `Linear` that is the `Linear` itself."""
    return linear


class Linear(nn.Linear):
    """Runs everywhere and has gradients."""

    def forward(self, x_RI: Tensor, outputs: Outputs | None = None) -> Tensor:
        """Computes y_RO, of some outputs only if they are given."""
        part = self.part(outputs)
        return by_equal_rows(lambda x_RI: F.linear(x_RI, *part), x_RI)

    def activated(self, x_RI: Tensor, activation: Activation) -> Tensor:
        """Computes activation(product) -> y_RO, of all outputs."""
        return activate(self(x_RI), activation)

    def part(self, outputs: Outputs | None) -> tuple[Tensor, Tensor | None]:
        """The weight and the bias of some outputs, or of all."""
        chosen = slice(*outputs) if outputs else slice(None)
        bias_O = self._parameters["bias"]
        return self.weight[chosen], None if bias_O is None else bias_O[chosen]


def by_equal_rows(product: Callable[[Tensor], Tensor], x_RI: Tensor, rows: int = ROWS) -> Tensor:
    """Computes y_RO of x_RI, `rows` at a time; on a GPU, and where gradients are wanted, all at once."""
    rows = at_once(x_RI, cpu=rows, otherwise=ANY_ROWS)
    if rows == ANY_ROWS or len(x_RI) == rows:
        return product(x_RI)
    if len(x_RI) < rows:
        return product(_filled_up(x_RI, rows))[: len(x_RI)]
    y_RO: Tensor | None = None
    for start in range(0, len(x_RI), rows):
        part_RO = product(_filled_up(x_RI[start : start + rows], rows))
        if y_RO is None:  # copied while they are in the cache: torch.cat of all takes half as long again
            y_RO = part_RO.new_empty(len(x_RI), part_RO.shape[1])
        y_RO[start : start + rows] = part_RO[: len(x_RI) - start]
    assert y_RO is not None
    return y_RO


def _filled_up(x_RI: Tensor, rows: int) -> Tensor:
    return x_RI if len(x_RI) == rows else F.pad(x_RI, (0, 0, 0, rows - len(x_RI)))


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Computes the activation of each value of x, of any shape."""
    match activation:
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "gelu_erf":
            return F.gelu(x)
        case "relu":
            return torch.relu(x)
