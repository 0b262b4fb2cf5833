"""The products with weights; one signature for every implementation, so callers never branch."""

from collections.abc import Iterable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.terms import Activation

Outputs = tuple[int, int]  # from, to


class Product(Protocol):
    """A product with one weight and bias, of rows of any number."""

    def __call__(self, x_RI: Tensor, outputs: Outputs | None = None) -> Tensor:
        """The product x @ weight.T + bias -> y_RO, of some outputs only if asked for."""

    def activated(self, x_RI: Tensor, activation: Activation) -> Tensor:
        """Computes activation(x @ weight.T + bias) -> y_RO, of all outputs."""


class MakeProduct(Protocol):
    """Makes a device's product of a `Linear`."""

    def __call__(self, linear: "Linear", outputs: Iterable[Outputs | None]) -> Product:
        """What to use in place of `linear`, for the `outputs` that will be asked for."""


def keep(linear: "Linear", outputs: Iterable[Outputs | None]) -> Product:
    """Makes a product of a `Linear` that is the `Linear` itself."""
    return linear


class Linear(nn.Linear):
    """Runs everywhere and has gradients."""

    def forward(self, x_RI: Tensor, outputs: Outputs | None = None) -> Tensor:
        """Computes y_RO, of some outputs only if they are given."""
        return F.linear(x_RI, *self.part(outputs))

    def activated(self, x_RI: Tensor, activation: Activation) -> Tensor:
        """Computes activation(product) -> y_RO, of all outputs."""
        return activate(self(x_RI), activation)

    def part(self, outputs: Outputs | None) -> tuple[Tensor, Tensor | None]:
        """The weight and the bias of some outputs, or of all."""
        chosen = slice(*outputs) if outputs else slice(None)
        bias_O = self._parameters["bias"]
        return self.weight[chosen], None if bias_O is None else bias_O[chosen]


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Computes the activation of each value of x, of any shape."""
    match activation:
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "gelu_erf":
            return F.gelu(x)
        case "relu":
            return torch.relu(x)
