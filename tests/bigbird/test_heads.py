"""transformers' own folders, loaded as they are, against transformers on each window alone.

The tolerance is 1e-4, as for the encoder (test_encoder.py). Worst measured below: 7.2e-6, of outputs up to 7.8.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BigBirdConfig,
    BigBirdForCausalLM,
    BigBirdForMaskedLM,
    BigBirdForMultipleChoice,
    BigBirdForPreTraining,
    BigBirdForQuestionAnswering,
    BigBirdForSequenceClassification,
    BigBirdForTokenClassification,
    BigBirdModel,
)

from pipeline.bigbird.classifier import Classifier
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier, save
from pipeline.errors import CheckpointError
from pipeline.inference.predictor import Predictor
from tests.checkpoint_folders import (
    TINY,
    pack_of,
    random_tokens,
    random_transformers_model,
    save_folder,
    transformers_hidden,
)

TOLERANCE = 1e-4
LENGTHS = [705, 1, 64, 1000, 63, 704, 65, 5]  # around a block and the limit of full attention
SEPARATOR = 66  # transformers' default
HEADS = [
    BigBirdForSequenceClassification,
    BigBirdForTokenClassification,
    BigBirdForQuestionAnswering,
    BigBirdForMaskedLM,
    BigBirdForPreTraining,
    BigBirdModel,
]
ATTENTION_TYPES = ["block_sparse", "original_full"]


def with_questions(windows: list[Any]) -> list[Any]:
    """Windows as they come to question answering: one without a separator, the others with two or more."""
    for window in windows:
        window[window == SEPARATOR] = 0
        if len(window) > 1:
            window[[len(window) // 3, -1]] = SEPARATOR
    return windows


WINDOWS = with_questions(random_tokens(LENGTHS))


@torch.inference_mode()
def expected_outputs(model: Any, ids: Any) -> Tensor:
    """transformers' outputs for one window alone: [1, L] or [tokens, L]."""
    if isinstance(model, BigBirdModel):
        return transformers_hidden(model, ids).mean(0, keepdim=True)
    model.base_model.set_attention_type(model.config.attention_type)
    outputs = model(torch.from_numpy(ids)[None])
    if isinstance(model, BigBirdForQuestionAnswering):
        return torch.stack([outputs.start_logits[0], outputs.end_logits[0]], dim=1)
    name = "prediction_logits" if isinstance(model, BigBirdForPreTraining) else "logits"
    logits: Tensor = outputs[name]
    return logits if logits.dim() == 2 else logits[0]


def open_and_load(path: Path) -> Classifier:
    return load_classifier(CheckpointFolder.open(path), torch.float32)


def outputs_of(classifier: Classifier, windows: list[Any]) -> Tensor:
    lengths = np.array([len(window) for window in windows])
    outputs = Predictor(classifier, "cpu").predict(np.concatenate(windows), lengths)
    return torch.from_numpy(outputs)


def assert_same(outputs: Tensor, expected: Tensor) -> None:
    """Where transformers takes 1e6 from a logit, what is left of it is a multiple of 1/16."""
    barred = expected < -1e5
    assert outputs.shape == expected.shape
    assert torch.equal(outputs < -1e5, barred)
    assert float((outputs - expected)[~barred].abs().max()) < TOLERANCE
    assert not barred.any() or float((outputs - expected)[barred].abs().max()) < 0.1


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
@pytest.mark.parametrize("model_class", HEADS)
def test_as_transformers_on_each_window_alone(tmp_path: Path, model_class: Any, attention_type: str) -> None:
    model = random_transformers_model(model_class=model_class, attention_type=attention_type)
    path = save_folder(model, tmp_path)
    expected = torch.cat([expected_outputs(model, window) for window in WINDOWS])
    assert_same(outputs_of(open_and_load(path), WINDOWS), expected)


@pytest.mark.parametrize("model_class", HEADS)
def test_transformers_loads_what_we_save(tmp_path: Path, model_class: Any) -> None:
    model = random_transformers_model(model_class=model_class)
    classifier = open_and_load(save_folder(model, tmp_path / "theirs"))
    save(classifier, tmp_path / "ours")
    (tmp_path / "ours" / "spiece.model").write_bytes(b"no model")
    if model_class is BigBirdForPreTraining:
        model_class = BigBirdForMaskedLM  # the part of it that is a head of ours
    again, report = model_class.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    expected = torch.cat([expected_outputs(again.eval(), window) for window in WINDOWS[:3]])
    assert_same(outputs_of(open_and_load(tmp_path / "ours"), WINDOWS[:3]), expected)
    assert_same(outputs_of(classifier, WINDOWS[:3]), expected)


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_a_model_for_masks_serves_as_an_encoder(tmp_path: Path, attention_type: str) -> None:
    """As which most encoders are published; and the pooler is one of the poolings."""
    model = random_transformers_model(model_class=BigBirdForPreTraining, attention_type=attention_type)
    rookery = {"pooling": "pooler", "head": "none"}
    classifier = open_and_load(save_folder(model, tmp_path, rookery=rookery))
    first = torch.cat([transformers_hidden(model, window)[:1] for window in WINDOWS])
    with torch.inference_mode():
        expected = torch.tanh(model.bert.pooler(first))
    assert_same(outputs_of(classifier, WINDOWS), expected)


def test_question_and_context_have_types_of_their_own(tmp_path: Path) -> None:
    """Were all tokens of one type, the logits would move."""
    model = random_transformers_model(model_class=BigBirdForQuestionAnswering)
    path = save_folder(model, tmp_path)
    ids = torch.from_numpy(WINDOWS[0])[None]
    with torch.inference_mode():
        one_type = model(ids, token_type_ids=torch.zeros_like(ids)).start_logits[0]
    outputs = outputs_of(open_and_load(path), WINDOWS[:1])[:, 0]
    context = outputs > -1e5
    assert float((outputs - one_type)[context].abs().max()) > 0.1


@pytest.mark.parametrize("model_class", [BigBirdForTokenClassification, BigBirdForMaskedLM])
def test_all_of_it_learns(tmp_path: Path, model_class: Any) -> None:
    classifier = open_and_load(save_folder(random_transformers_model(model_class=model_class), tmp_path)).train()
    expected = dict(classifier.named_parameters())
    classifier(*pack_of(classifier, WINDOWS[:2])).square().mean().backward()
    assert {name for name, p in expected.items() if p.grad is not None} == set(expected)


def change_weights(path: Path, **changes: Tensor | None) -> None:
    tensors = load_file(path / "model.safetensors") | changes
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path / "model.safetensors")


MISSING = {
    BigBirdForTokenClassification: "classifier.bias",
    BigBirdForQuestionAnswering: "qa_classifier.output.LayerNorm.weight",
    BigBirdForMaskedLM: "cls.predictions.transform.dense.bias",
    BigBirdModel: "encoder.layer.0.output.dense.bias",
}


@pytest.mark.parametrize(("model_class", "name"), MISSING.items())
def test_every_key_is_accounted_for(tmp_path: Path, model_class: Any, name: str) -> None:
    path = save_folder(random_transformers_model(model_class=model_class), tmp_path)
    change_weights(path, **{name: None, "adapter.weight": torch.zeros(1)})
    found = f"{model_class.__name__} .*missing: (bert.)?{name}; not expected: adapter.weight"
    with pytest.raises(CheckpointError, match=found):
        open_and_load(path)


def test_a_decoder_of_its_own_is_refused(tmp_path: Path) -> None:
    path = save_folder(random_transformers_model(model_class=BigBirdForMaskedLM), tmp_path)
    tied = load_file(path / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    change_weights(path, **{"cls.predictions.decoder.weight": tied.clone()})
    open_and_load(path)
    change_weights(path, **{"cls.predictions.decoder.weight": tied + 1})
    with pytest.raises(CheckpointError, match=r"weights that are not tied cannot be run"):
        open_and_load(path)


@pytest.mark.parametrize(
    ("model_class", "config", "message"),
    [
        (BigBirdForMultipleChoice, {}, "BigBirdForMultipleChoice'.*; expected one of BigBirdFor"),
        (BigBirdForCausalLM, {"is_decoder": True}, "is_decoder is True; expected false"),
        (
            BigBirdModel,
            {"is_decoder": True, "add_cross_attention": True, "attention_type": "original_full"},
            "is_decoder is True; expected false: BigBird is run as an encoder",
        ),
    ],
)
def test_other_folders_are_refused_by_name(
    tmp_path: Path, model_class: Any, config: dict[str, Any], message: str
) -> None:
    save_folder(model_class(BigBirdConfig(**TINY, **config)), tmp_path)
    with pytest.raises(CheckpointError, match=message):
        CheckpointFolder.open(tmp_path)
