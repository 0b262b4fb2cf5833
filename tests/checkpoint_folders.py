"""Real transformers checkpoints for tests, and transformers' own logits for them.

Weights and biases are large, so that attention is far from uniform and every term shows: with
small ones, dropping a whole block moves the logits by less than a tolerance.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from transformers import BigBirdConfig, BigBirdForSequenceClassification
from transformers.utils import logging

from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.checkpoints.config import read_encoder, read_head
from pipeline.checkpoints.json_file import JsonFile

logging.set_verbosity_error()  # it tells of each window that it computes with full attention
logging.disable_progress_bar()

VOCABULARY = 500
TINY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
}


def random_transformers_model(
    seed: int = 0,
    std: float = 0.2,
    model_class: Any = BigBirdForSequenceClassification,
    **config: Any,
) -> Any:
    """A small model of transformers' in eval mode; `config` goes over TINY."""
    torch.manual_seed(seed)
    config = TINY | {"id2label": {0: "rook", 1: "jackdaw", 2: "crow"}} | config
    model = model_class(BigBirdConfig(**config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, std)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def save_folder(
    model: Any,
    path: Path,
    *,
    rookery: dict[str, Any] | None = None,
    labels: list[str] | None = None,
    spiece: Path | None = None,
    **options: Any,
) -> Path:
    """Writes `model` as transformers does (`options` are those of save_pretrained).

    Without `spiece` the tokenizer's file is there, but holds no model.
    """
    if labels is not None:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: i for i, label in enumerate(labels)}
    model.save_pretrained(path, **options)
    (path / "spiece.model").write_bytes(spiece.read_bytes() if spiece else b"no model")
    if rookery is not None:
        (path / "rookery.json").write_text(json.dumps(rookery))
    return path


def one_output(folder: Path, first: str, second: str, rookery: dict[str, Any]) -> None:
    """Makes a classifier of many outputs one of a single output: how much more it is for `second` than for `first`."""
    config = json.loads((folder / "config.json").read_text())
    labels = list(config["id2label"].values())
    tensors = load_file(folder / "model.safetensors")
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        rows = tensors[name].float()
        tensors[name] = rows[[labels.index(second)]] - rows[[labels.index(first)]]
    save_file(tensors, folder / "model.safetensors")
    config |= {"id2label": {"0": second}, "label2id": {second: 0}}
    (folder / "config.json").write_text(json.dumps(config))
    own = json.loads((folder / "rookery.json").read_text())
    (folder / "rookery.json").write_text(json.dumps(own | rookery))


def configs_of(model: Any) -> tuple[EncoderConfig, HeadConfig]:
    file = JsonFile(Path("config.json"), json.loads(model.config.to_json_string(use_diff=False)))
    return read_encoder(file), read_head(file, JsonFile(Path("none"), {}))


def random_tokens(lengths: list[int], seed: int = 0) -> list[npt.NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, VOCABULARY, length) for length in lengths]


def pack_of(classifier: Classifier, windows: list[Any]) -> tuple[torch.Tensor, Layout]:
    """Windows as the classifier takes them: token ids, laid out, and the layout."""
    layout = Layout.of([len(window) for window in windows], classifier.encoder_config)
    return layout.spread(torch.from_numpy(np.concatenate(windows))), layout


@torch.inference_mode()
def transformers_hidden(model: Any, ids: npt.NDArray[np.int64]) -> torch.Tensor:
    """The last hidden states [tokens, hidden] of one window, alone.

    The attention type is set before every call: a short window switches transformers' model to full
    attention for good (docs/encoder.md).
    """
    encoder = model.base_model
    encoder.set_attention_type(model.config.attention_type)
    hidden: torch.Tensor = encoder(torch.from_numpy(ids)[None]).last_hidden_state[0]
    return hidden


@torch.inference_mode()
def transformers_logits(model: Any, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The logits [labels] of one window, alone."""
    logits: npt.NDArray[np.float32] = model.classifier(transformers_hidden(model, ids)[None])[0].float().numpy()
    return logits
