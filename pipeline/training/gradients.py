"""All gradients in one tensor: packs add to it, workers sum it in one go, and the step reads it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipeline.training.workers import Workers


class Gradients:
    """Takes the parameters' `grad` over; the last two places are for the sums of loss and of weights."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        parameters = list(parameters)
        sizes = [parameter.numel() for parameter in parameters]
        self.flat = torch.zeros(sum(sizes) + 2, device=parameters[0].device)
        for parameter, part in zip(parameters, torch.split(self.flat[:-2], sizes), strict=True):
            parameter.grad = part.view_as(parameter)

    def add(self, loss: Tensor, weight: Tensor) -> None:
        """Adds the gradients of one pack's weighted loss, and that loss and its weight."""
        loss.backward()  # type: ignore[no-untyped-call]
        self.flat[-2] += loss.detach()
        self.flat[-1] += weight.detach()

    def finish(self, workers: Workers, clip_norm: float) -> float:
        """Sums over the workers, divides by the weights, clips; returns the loss."""
        workers.sum(self.flat)
        loss, weight = self.flat[-2:].tolist()
        gradient = self.flat[:-2].div_(max(weight, 1e-12))
        gradient.mul_((clip_norm / (torch.linalg.vector_norm(gradient) + 1e-6)).clamp(max=1.0))
        return float(loss / max(weight, 1e-12))

    def clear(self) -> None:
        """Sets all to zero, for the next step."""
        self.flat.zero_()
