"""The learning rate as a function of how far training is, and the optimizer it is for."""

import math

import torch
from torch import nn

from pipeline.config.train import TrainingSettings


def rate_factor(progress: float, warm_up: float, decay: str) -> float:
    """Computes what the learning rate is multiplied with, `progress` (0 to 1) of the way through."""
    if progress < warm_up:
        return progress / warm_up
    rest = (progress - warm_up) / (1 - warm_up)
    if decay == "cosine":
        return 0.5 + 0.5 * math.cos(math.pi * rest)
    return 1 - rest if decay == "linear" else 1.0


def optimizer_for(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Makes an AdamW over the parameters that learn; biases and norms do not decay."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [p for p in learning if p.dim() > 1],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
