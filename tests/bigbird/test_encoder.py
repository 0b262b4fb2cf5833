"""Hidden states and logits against transformers' BigBird, each window alone (docs/encoder.md).

The tolerance is 1e-4. Worst measured over everything below: 1.0e-5 for hidden states (up to 4.6),
6.4e-6 for logits (up to 3.6), alone and in a pack alike; 8.5e-6 for logits of 12 layers at base
width, which takes too long for a test.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.bigbird import attention, encoder, linear
from pipeline.bigbird.attention_reference import REFERENCE
from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.linear_mkldnn import MkldnnLinear
from pipeline.bigbird.operators import Operators
from pipeline.checkpoints.names import stored_tensors
from pipeline.training.dropout import replace_dropouts
from tests.bigbird.configs import HEAD, encoder_config
from tests.checkpoint_folders import (
    configs_of,
    pack_of,
    random_tokens,
    random_transformers_model,
    transformers_hidden,
    transformers_logits,
)

TOLERANCE = 1e-4
LENGTHS = [1, 2, 63, 64, 65, 703, 704, 705, 1000, 1024, 3072, 4095, 4096]
FEW_LENGTHS = [5, 64, 704, 705, 1024, 1500]

MODELS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "blocks of 64, r = 3": ({}, LENGTHS),
    "blocks of 64, r = 2": ({"num_random_blocks": 2}, LENGTHS),
    "blocks of 64, r = 1": ({"num_random_blocks": 1}, LENGTHS),
    "blocks of 16, r = 3": ({"block_size": 16}, LENGTHS),
    "blocks of 16, r = 2": ({"block_size": 16, "num_random_blocks": 2}, LENGTHS),
    "blocks of 16, r = 1": ({"block_size": 16, "num_random_blocks": 1}, LENGTHS),
    "blocks of 128": ({"block_size": 128, "num_random_blocks": 1}, FEW_LENGTHS),
    "head size 8": ({"num_attention_heads": 8}, FEW_LENGTHS),
    "head size 100": ({"hidden_size": 100, "num_attention_heads": 1}, FEW_LENGTHS),
    "full attention": ({"attention_type": "original_full"}, FEW_LENGTHS),
    "rescaled embeddings": ({"rescale_embeddings": True}, FEW_LENGTHS),
    "no bias": ({"use_bias": False}, FEW_LENGTHS),
    "gelu": ({"hidden_act": "gelu"}, FEW_LENGTHS),
    "gelu_fast": ({"hidden_act": "gelu_fast"}, FEW_LENGTHS),
    "relu": ({"hidden_act": "relu"}, FEW_LENGTHS),
    "one layer": ({"num_hidden_layers": 1}, FEW_LENGTHS),
    "one output": ({"id2label": {0: "price"}}, FEW_LENGTHS),
}


# Around a block, around the limit of full attention, in no order.
MIXED_PACK = [705, 1, 64, 1000, 63, 704, 65, 5]
SOME_MODELS = (
    "blocks of 64, r = 3",
    "blocks of 16, r = 1",
    "full attention",
    "rescaled embeddings",
    "no bias",
    "gelu",
    "relu",
    "one layer",
)
OPERATORS = {
    "defaults": Operators(),
    "oneDNN": Operators(product=MkldnnLinear),
    "reference": Operators(REFERENCE),
}


def classifier_of(model: Any, **options: Any) -> Classifier:
    classifier = Classifier(*configs_of(model), **options)
    stored = model.state_dict()
    with torch.no_grad():
        for name, tensor in stored_tensors(classifier).items():
            tensor.copy_(stored[name])
    return classifier.eval()


@torch.inference_mode()
def logits_of(classifier: Classifier, windows: list[Any]) -> Tensor:
    logits_WL: Tensor = classifier(*pack_of(classifier, windows))
    return logits_WL


@torch.inference_mode()
def hidden_of(classifier: Classifier, windows: list[Any]) -> list[Tensor]:
    token_id_T, layout = pack_of(classifier, windows)
    hidden_TD = classifier.encoder(token_id_T, layout)
    return list(hidden_TD[layout.row_N].float().split([len(window) for window in windows]))


def worst(tensors: Any, expected: Any) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(tensors, expected, strict=True))


@pytest.mark.parametrize(("config", "lengths"), MODELS.values(), ids=MODELS)
def test_as_transformers_alone_and_in_a_pack(config: dict[str, Any], lengths: list[int]) -> None:
    model = random_transformers_model(**config)
    classifier = classifier_of(model)
    windows = random_tokens(lengths)
    expected_hidden = [transformers_hidden(model, window) for window in windows]
    expected_logits = torch.stack([torch.from_numpy(transformers_logits(model, window)) for window in windows])
    hidden, logits = hidden_of(classifier, windows), logits_of(classifier, windows)
    alone = torch.cat([logits_of(classifier, [window]) for window in windows])
    assert worst(hidden, expected_hidden) < TOLERANCE
    assert worst(logits, expected_logits) < TOLERANCE
    assert worst(alone, expected_logits) < TOLERANCE


@pytest.mark.parametrize("name", SOME_MODELS)
def test_all_operators_give_the_logits_of_transformers(name: str) -> None:
    model, windows = random_transformers_model(**MODELS[name][0]), random_tokens(MIXED_PACK)
    expected = torch.stack([torch.from_numpy(transformers_logits(model, window)) for window in windows])
    for operators_name, operators in OPERATORS.items():
        classifier = classifier_of(model)
        classifier.use(operators)
        logits = logits_of(classifier, windows)
        assert worst(logits, expected) < TOLERANCE, operators_name


@pytest.mark.parametrize("operators", OPERATORS.values(), ids=OPERATORS)
def test_how_much_is_computed_at_once_does_not_change_logits(
    monkeypatch: pytest.MonkeyPatch, operators: Operators
) -> None:
    classifier, windows = classifier_of(random_transformers_model()), random_tokens(MIXED_PACK)
    classifier.use(operators)
    expected = logits_of(classifier, windows)
    for rows, scores in ((7, 1), (64, 100_000), (4096, 2**62)):
        monkeypatch.setattr(encoder, "ROWS", rows)
        monkeypatch.setattr(linear, "ROWS", rows)
        monkeypatch.setattr(attention, "SCORES_AT_ONCE_CPU", scores)
        # Products of other sizes are summed in another order. Worst measured 1.5e-6.
        assert worst(logits_of(classifier, windows), expected) < 1e-5, (rows, scores)


def test_every_term_is_visible() -> None:
    """Were one of these off, the logits would move: by 0.1 to 0.9, and by 4.6e-4 for the gelu."""
    window = random_tokens([1500])
    model = random_transformers_model()
    expected = logits_of(classifier_of(model), window)
    for change in (
        {"num_random_blocks": 2},  # ln 3 instead of ln 4
        {"attention_type": "original_full"},
        {"rescale_embeddings": True},
        {"hidden_act": "gelu"},
    ):
        other = logits_of(
            classifier_of(random_transformers_model(**change)),
            window,
        )
        assert worst(other, expected) > TOLERANCE, change


def test_the_dense_mask_gives_the_same_logits() -> None:
    model, windows = random_transformers_model(), random_tokens([5, 705, 1000])
    logits = logits_of(classifier_of(model), windows)
    classifier = classifier_of(model)
    classifier.use(Operators(REFERENCE))
    assert worst(logits, logits_of(classifier, windows)) < 1e-5


def test_the_first_rows_are_those_of_the_whole_last_layer() -> None:
    classifier = classifier_of(random_transformers_model())
    layout = Layout.of([5, 705, 1000], classifier.encoder_config)
    token_id_T = torch.randint(0, 500, (layout.rows,))
    with torch.inference_mode():
        every_TD = classifier.encoder(token_id_T, layout)
        first_WD = classifier.encoder.first_rows(token_id_T, layout)
    assert worst(first_WD, every_TD[layout.first_row_W]) < 1e-5


def test_padding_rows_may_hold_any_token() -> None:
    classifier = classifier_of(random_transformers_model())
    layout = Layout.of([5, 705], classifier.encoder_config)
    token_id_T = layout.spread(torch.arange(710) % 500)
    other_T = torch.full_like(token_id_T, 499).index_copy(0, layout.row_N, torch.arange(710) % 500)
    with torch.inference_mode():
        assert torch.equal(classifier(token_id_T, layout), classifier(other_T, layout))


def test_bfloat16_is_near_float32() -> None:
    # Weights of ordinary size: large ones make a model that no format of 8 bits could follow.
    model, windows = random_transformers_model(std=0.1), random_tokens([5, 300, 704, 705, 1500])
    expected = logits_of(classifier_of(model), windows)
    logits = logits_of(classifier_of(model, dtype=torch.bfloat16), windows)
    assert logits.dtype == torch.float32
    assert worst(logits, expected) < 0.02  # measured 4.7e-3, of logits up to 0.5


def test_train_mode_alone_changes_nothing() -> None:
    classifier = classifier_of(random_transformers_model())
    windows = random_tokens([705, 1000])
    expected = logits_of(classifier, windows)
    assert torch.equal(logits_of(classifier.train(), windows), expected)


def test_dropout_acts_in_train_mode_only() -> None:
    classifier = classifier_of(random_transformers_model())
    replace_dropouts(classifier, 0.5)
    classifier.eval()
    windows = random_tokens([40])
    expected = logits_of(classifier, windows)
    assert torch.equal(logits_of(classifier, windows), expected)
    assert not torch.equal(logits_of(classifier.train(), windows), expected)


def test_gradients_of_the_fast_attention_are_those_of_the_dense_mask() -> None:
    model, windows = random_transformers_model(block_size=16), random_tokens([5, 177, 300])
    gradients: list[dict[str, Tensor]] = []
    for operators in (Operators(), Operators(REFERENCE)):
        classifier = classifier_of(model).train()
        classifier.use(operators)
        layout = Layout.of([5, 177, 300], classifier.encoder_config)
        token_id_T = layout.spread(torch.from_numpy(np.concatenate(windows)))
        torch.nn.functional.cross_entropy(classifier(token_id_T, layout), torch.tensor([0, 1, 2])).backward()
        gradients.append({name: p.grad for name, p in classifier.named_parameters() if p.grad is not None})
    fast, dense = gradients
    assert fast.keys() == dense.keys() == dict(classifier.named_parameters()).keys()
    for name, gradient in dense.items():
        # Worst measured: 1.5e-6 of the largest gradient of a parameter.
        assert float((fast[name] - gradient).abs().max() / gradient.abs().max()) < 1e-4, name


def test_a_fresh_classifier_learns() -> None:
    classifier = Classifier.fresh(encoder_config(block_size=16), HEAD, seed=0).train()
    layout = Layout.of([20, 300, 200], classifier.encoder_config)
    token_id_T = layout.spread(torch.from_numpy(np.concatenate(random_tokens([20, 300, 200]))))
    optimizer = torch.optim.Adam(classifier.parameters(), 1e-3)
    losses = []
    for _ in range(25):
        logits_WL = classifier(token_id_T, layout)
        loss = torch.nn.functional.cross_entropy(logits_WL, torch.tensor([0, 1, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(3), abs=0.02)  # knows nothing yet
    assert losses[-1] < 0.5


def test_a_fresh_classifier_is_the_same_for_the_same_seed() -> None:
    first, same, other = (Classifier.fresh(encoder_config(), HEAD, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["head.out.weight"], other["head.out.weight"])
