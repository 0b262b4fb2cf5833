"""Who is measured: transformers' model with random weights, and our predictor of the same."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from jobs.measure.benchmark.contenders import Rookery, Transformers, random_model
from jobs.measure.gpu.scope import Scope
from jobs.sample import CHECKPOINT
from pipeline.added_tokens import SPIECE
from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.encoder import Layer
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier
from pipeline.inference.predictor import Predictor
from pipeline.terms import Dtype

TORCH_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def model_of(scope: Scope) -> Any:
    """Makes transformers' model, on the CPU, in float32."""
    return random_model(**scope.config)


@torch.no_grad()
def telling_model(scope: Scope) -> Any:
    """As `model_of`, with weights so large that attention is far from uniform, and whatever is wrong shows."""
    model = model_of(scope)
    deviation = 1.6 / model.config.hidden_size**0.5  # scores of a deviation of about 2.5
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, deviation)
        else:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@contextmanager
def checkpoint_of(model: Any) -> Iterator[Path]:
    """Writes transformers' `model` as a checkpoint folder, for as long as it is read."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        shutil.copy(CHECKPOINT / SPIECE, folder)
        yield Path(folder)


def rookery_of(model: Any, scope: Scope, dtype: Dtype) -> Rookery:
    """Our predictor of transformers' `model`, in packs of the scope's size."""
    with checkpoint_of(model) as folder:
        contender = Rookery(folder, scope.device, dtype)
    contender.budget = scope.pack
    if scope.device == "cpu":
        interpret_attention(contender.predictor)
    return contender


def classifier_of(model: Any) -> Classifier:
    """Our classifier with the weights of transformers' `model`, to be trained."""
    with checkpoint_of(model) as folder:
        return load_classifier(CheckpointFolder.open(folder), torch.float32)


def interpret_attention(predictor: Predictor) -> None:
    """Puts the Triton attention into a predictor on a CPU; not the norms, whose program for each row takes seconds."""
    from pipeline.bigbird.attention_triton import TRITON

    for layer in predictor.classifier.encoder.layers:
        assert isinstance(layer, Layer)
        layer.operators = replace(layer.operators, attention=TRITON)


class FullAttention(Transformers):
    """Transformers' full attention, by torch's fused kernel: above 704 tokens not BigBird's logits, but a yardstick."""

    attention_type = "original_full"


def by_sdpa(model: Any) -> Any:
    """Changes transformers' model to full attention by `scaled_dot_product_attention`, which it has no setting for."""
    from transformers.models.big_bird.modeling_big_bird import BigBirdSelfAttention

    class SdpaSelfAttention(BigBirdSelfAttention):  # type: ignore[misc]
        def forward(self, hidden_states: torch.Tensor, attention_mask: Any = None, **_: Any) -> tuple[Any, None]:
            shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
            q, k, v = (part(hidden_states).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
            context = torch.nn.functional.scaled_dot_product_attention(q, k, v, attention_mask)
            return context.transpose(1, 2).flatten(2), None

    model.bert.set_attention_type("original_full")
    for layer in model.bert.encoder.layer:
        layer.attention.self.__class__ = SdpaSelfAttention
    return model
