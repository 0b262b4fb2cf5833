"""Every pooling with every head against plain PyTorch on transformers' hidden states of each window alone.

The tolerance is 1e-4, as for the encoder (test_encoder.py).
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.linear_mkldnn import MkldnnLinear
from pipeline.bigbird.model_config import HeadConfig
from pipeline.bigbird.operators import Operators
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier, save, stored_tensors
from tests.bigbird.configs import HEAD, encoder_config
from tests.checkpoint_folders import (
    configs_of,
    pack_of,
    random_tokens,
    random_transformers_model,
    transformers_hidden,
)

TOLERANCE = 1e-4
LENGTHS = [705, 1, 64, 1000, 63, 704, 65, 5]  # around a block and the limit of full attention

PLAIN_POOLINGS: dict[str, Callable[[Tensor, dict[str, Tensor]], Tensor]] = {
    "cls": lambda hidden_ND, t: hidden_ND[0],
    "pooler": lambda hidden_ND, t: torch.tanh(F.linear(hidden_ND[0], *_part(t, "bert.pooler"))),
    "mean": lambda hidden_ND, t: hidden_ND.mean(0),
    "max": lambda hidden_ND, t: hidden_ND.max(0).values,
    "attention": lambda hidden_ND, t: _scores(hidden_ND, t).softmax(0) @ hidden_ND,
}
PLAIN_HEADS: dict[str, Callable[[Tensor, dict[str, Tensor]], Tensor]] = {
    "linear": lambda pooled_D, t: F.linear(pooled_D, *_part(t, "classifier")),
    "dense": lambda pooled_D, t: _two_layers(pooled_D, t, F.relu),
    "bigbird": lambda pooled_D, t: _two_layers(pooled_D, t, lambda x: F.gelu(x, approximate="tanh")),
}


def _part(tensors: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def _scores(hidden_ND: Tensor, t: dict[str, Tensor]) -> Tensor:
    if "attention.dense.weight" in t:
        hidden_ND = torch.tanh(F.linear(hidden_ND, *_part(t, "attention.dense")))
    return F.linear(hidden_ND, *_part(t, "attention.out")).squeeze(1)


def _two_layers(pooled_D: Tensor, t: dict[str, Tensor], activation: Any) -> Tensor:
    first, second = ("fc", "classifier") if "fc.weight" in t else ("classifier.dense", "classifier.out_proj")
    return F.linear(activation(F.linear(pooled_D, *_part(t, first))), *_part(t, second))


def head_config(pooling: Any, head: Any, **sizes: Any) -> HeadConfig:
    return replace(HEAD, pooling=pooling, head=head, **sizes)


def classifier_of(model: Any, head: HeadConfig) -> Classifier:
    """The encoder of transformers' model, with a head of large random weights."""
    classifier = Classifier(configs_of(model)[0], head)
    stored, generator = model.state_dict(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in stored_tensors(classifier).items():
            if name in stored and "classifier" not in name:
                tensor.copy_(stored[name])
            else:
                tensor.normal_(0, 0.3, generator=generator)
    return classifier.eval()


@torch.inference_mode()
def logits_of(classifier: Classifier, windows: list[Any]) -> Tensor:
    logits_WL: Tensor = classifier(*pack_of(classifier, windows))
    return logits_WL


def plain_logits(classifier: Classifier, hidden: list[Tensor]) -> Tensor:
    head, tensors = classifier.head_config, stored_tensors(classifier)
    pooled = [PLAIN_POOLINGS[head.pooling](hidden_ND, tensors) for hidden_ND in hidden]
    return torch.stack([PLAIN_HEADS[head.head](pooled_D, tensors) for pooled_D in pooled])


def worst(tensor: Tensor, expected: Tensor) -> float:
    return float((tensor - expected).abs().max())


HEADS = [head_config(pooling, head) for pooling, head in product(PLAIN_POOLINGS, PLAIN_HEADS)] + [
    head_config("attention", "dense", attention_size=24, dense_size=48)
]
ids = [f"{head.pooling} {head.head} {head.dense_size or ''}" for head in HEADS]


@pytest.fixture(scope="module")
def model() -> Any:
    return random_transformers_model()


@pytest.fixture(scope="module")
def windows() -> list[Any]:
    return random_tokens(LENGTHS)


@pytest.fixture(scope="module")
def hidden(model: Any, windows: list[Any]) -> list[Tensor]:
    return [transformers_hidden(model, window) for window in windows]


@pytest.mark.parametrize("head", HEADS, ids=ids)
def test_as_plain_pytorch_on_each_window_alone(
    model: Any, windows: list[Any], hidden: list[Tensor], head: HeadConfig
) -> None:
    """Worst measured: 6.7e-6, of logits up to 7.9."""
    classifier = classifier_of(model, head)
    with torch.inference_mode():
        expected = plain_logits(classifier, hidden)
    assert expected.abs().max() > 1
    assert worst(logits_of(classifier, windows), expected) < TOLERANCE
    classifier.use(Operators(product=MkldnnLinear))
    assert worst(logits_of(classifier, windows), expected) < TOLERANCE


@pytest.mark.parametrize("head", HEADS, ids=ids)
def test_what_we_save_we_load(model: Any, windows: list[Any], tmp_path: Path, head: HeadConfig) -> None:
    classifier = classifier_of(model, head)
    save(classifier, tmp_path, settings={"temperature": 2.0})
    (tmp_path / "spiece.model").write_bytes(b"no model")
    folder = CheckpointFolder.open(tmp_path)
    again = load_classifier(folder, torch.float32)
    assert (again.head_config, folder.decision.temperature) == (head, 2.0)
    assert torch.equal(logits_of(again, windows[:3]), logits_of(classifier, windows[:3]))


@pytest.mark.parametrize("pooling", PLAIN_POOLINGS)
def test_neighbours_and_padding_do_not_enter(model: Any, windows: list[Any], pooling: str) -> None:
    """Pooled by itself a window gives the same bits, whatever its neighbours are and its padding holds."""
    classifier = classifier_of(model, head_config(pooling, "linear"))
    layout = pack_of(classifier, windows)[1]
    first_only = pooling in ("cls", "pooler")
    rows = len(windows) if first_only else layout.rows
    hidden_TD = torch.randn(rows, 64, generator=torch.Generator().manual_seed(0))
    other_TD = hidden_TD.clone()
    if not first_only:
        other_TD[~layout.real_T] = torch.inf
    with torch.inference_mode():
        pooled_WD = classifier.pooling(hidden_TD, layout)
        assert torch.equal(classifier.pooling(other_TD, layout), pooled_WD)
        if pooling in ("mean", "max"):
            alone = Layout.of([LENGTHS[0]], classifier.encoder_config)
            alone_WD = classifier.pooling(hidden_TD[: alone.rows], alone)
            assert torch.equal(alone_WD[0], pooled_WD[0])


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_gradients_are_those_of_plain_pytorch(model: Any, pooling: str) -> None:
    lengths = [5, 64, 130]
    classifier = classifier_of(model, head_config(pooling, "dense")).train()
    token_id_T, layout = pack_of(classifier, random_tokens(lengths))
    target_W = torch.tensor([0, 1, 2])
    gradients: list[dict[str, Tensor]] = []
    for plain in (False, True):
        classifier.zero_grad()
        if plain:
            hidden_TD = classifier.encoder(token_id_T, layout)
            hidden = list(hidden_TD[layout.row_N].split(lengths))
            logits_WL = plain_logits(classifier, hidden)
        else:
            logits_WL = classifier(token_id_T, layout)
        F.cross_entropy(logits_WL, target_W).backward()
        parameters = classifier.named_parameters()
        gradients.append({name: p.grad.clone() for name, p in parameters if p.grad is not None})
    ours, expected = gradients
    assert ours.keys() == expected.keys() == dict(classifier.named_parameters()).keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        # The bias of a score has no gradient but rounding: all weights are relative.
        assert worst(ours[name], gradient) < 1e-5 * largest, name


@pytest.mark.parametrize("pooling", PLAIN_POOLINGS)
def test_a_fresh_classifier_learns(pooling: str) -> None:
    head = head_config(pooling, "linear")
    classifier = Classifier.fresh(encoder_config(block_size=16), head, seed=0).train()
    token_id_T, layout = pack_of(classifier, random_tokens([20, 300, 200]))
    optimizer = torch.optim.Adam(classifier.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(classifier(token_id_T, layout), torch.tensor([0, 1, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(3), abs=0.1)  # knows nothing yet
    assert losses[-1] < 0.5


def test_in_bfloat16_pooling_and_head_stay_float32(model: Any, windows: list[Any]) -> None:
    classifier = classifier_of(model, head_config("attention", "dense"))
    classifier.encoder.to(torch.bfloat16)
    assert logits_of(classifier, windows).dtype == torch.float32
    parts = (classifier.pooling, classifier.head)
    assert {p.dtype for part in parts for p in part.parameters()} == {torch.float32}
