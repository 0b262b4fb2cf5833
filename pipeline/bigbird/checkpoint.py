"""Reads and writes a classifier's weights under the names that transformers gives them.

Where transformers has no name, ours:

Name                    Part
classifier.*            the linear head
classifier.dense.*      the dense head's first layer
classifier.out_proj.*   its second: the two are called as in transformers' own head
attention.dense.*       attention pooling's inner layer, if it has one
attention.out.*         attention pooling's score

Loading is strict: every tensor of the files is used, or known to be of no use, and every
parameter is filled. Files are read one at a time, and safetensors only mapped, so that a tensor is
copied once, into its place.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.encoder import Layer
from pipeline.bigbird.folder import CheckpointFolder
from pipeline.bigbird.heads import DenseHead, LinearHead, MaskedLmHead, QuestionAnsweringHead
from pipeline.bigbird.poolings import Pooler
from pipeline.errors import CheckpointError

# What transformers stores and not every classifier uses.
UNUSED = (
    "bert.pooler.weight",
    "bert.pooler.bias",
    "bert.embeddings.position_ids",
    "bert.embeddings.token_type_ids",
)
NEXT_SENTENCE = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")
MASKED_LM = (
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.predictions.transform.LayerNorm.bias",
    "cls.predictions.bias",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
)
UNUSED_BY: Mapping[str, tuple[str, ...]] = {
    "masked_lm": NEXT_SENTENCE,
    "none": (*NEXT_SENTENCE, *MASKED_LM),  # the folders that encoders are published in
}
# Second names that masked_lm's tensors may have, or have alone.
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
BARE = ("embeddings.", "encoder.", "pooler.")  # BigBirdModel alone leaves out "bert."
OLD_NAMES = ((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias"))
NAMES_SHOWN = 8


def load(folder: CheckpointFolder, dtype: torch.dtype) -> Classifier:
    """The folder's classifier on the CPU, in eval mode, its encoder as `dtype`.

    Raises:
        CheckpointError: a file cannot be read, or does not hold exactly this model.
    """
    classifier = Classifier(folder.encoder, folder.head, dtype=dtype)
    places = stored_tensors(classifier)
    tied = TIED if folder.head.head == "masked_lm" else {}
    found: set[str] = set()
    for file in folder.weight_files:
        for stored_name, tensor in _read(file):
            name = _current_name(stored_name)
            name = tied.get(name, name)
            if name in places:
                fill_or_compare = _refuse_other_values if name in found else _fill
                fill_or_compare(places[name], tensor, stored_name, file)
            found.add(name)
    _refuse_other_names(folder, found, set(places))
    return classifier.eval()


def save(
    classifier: Classifier,
    path: Path,
    *,
    dtype: torch.dtype = torch.float32,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Writes config.json, rookery.json and model.safetensors into `path`.

    transformers loads what is its own of it: the encoder, and the head if it is one of ARCHITECTURES (config.py). `settings` are
    further keys of rookery.json, such as thresholds and windows.
    """
    path.mkdir(parents=True, exist_ok=True)
    config = classifier.encoder_config.to_json() | classifier.head_config.to_json()
    _write_json(path / "config.json", config)
    _write_json(
        path / "rookery.json", classifier.head_config.to_rookery_json() | dict(settings or {})
    )
    tensors = {
        name: tensor.detach().to("cpu", dtype, copy=True)
        for name, tensor in stored_tensors(classifier).items()
    }
    if classifier.head_config.task != "question_answering":
        # transformers' model has a pooler, computes it and throws it away. The identity keeps it from
        # reporting missing weights, and from drawing random ones.
        size = classifier.encoder_config.hidden_size
        tensors.setdefault("bert.pooler.weight", torch.eye(size, dtype=dtype))
        tensors.setdefault("bert.pooler.bias", torch.zeros(size, dtype=dtype))
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def stored_tensors(classifier: Classifier) -> dict[str, Tensor]:
    """A file's name -> the classifier's parameter, or the part of it, that it stands for."""
    embeddings = classifier.encoder.embeddings
    tensors = {
        "bert.embeddings.word_embeddings.weight": embeddings.word.weight,
        "bert.embeddings.position_embeddings.weight": embeddings.position.weight,
        "bert.embeddings.token_type_embeddings.weight": embeddings.token_type.weight,
        **_module("bert.embeddings.LayerNorm", embeddings.norm),
        **_pooling(classifier.pooling),
        **_head(classifier.head),
    }
    for number, layer in enumerate(classifier.encoder.layers):
        assert isinstance(layer, Layer)
        tensors |= _layer(f"bert.encoder.layer.{number}", layer)
    return tensors


def _pooling(pooling: nn.Module) -> dict[str, Tensor]:
    if isinstance(pooling, Pooler):
        return _module("bert.pooler", pooling.dense)
    return _module("attention", pooling)  # the others have no parameters


def _head(head: nn.Module) -> dict[str, Tensor]:
    match head:
        case LinearHead():
            return _module("classifier", head.out)
        case DenseHead():
            return {
                **_module("classifier.dense", head.dense),
                **_module("classifier.out_proj", head.out),
            }
        case QuestionAnsweringHead():
            return {
                **_module("qa_classifier.intermediate.dense", head.up),
                **_module("qa_classifier.output.dense", head.down),
                **_module("qa_classifier.output.LayerNorm", head.norm),
                **_module("qa_classifier.qa_outputs", head.out),
            }
        case MaskedLmHead():
            return {
                **_module("cls.predictions.transform.dense", head.dense),
                **_module("cls.predictions.transform.LayerNorm", head.norm),
                "cls.predictions.bias": head.bias,
            }
    return {}


def _layer(prefix: str, layer: Layer) -> dict[str, Tensor]:
    return {
        **_fused(f"{prefix}.attention.self", layer.qkv),
        **_module(f"{prefix}.attention.output.dense", layer.out),
        **_module(f"{prefix}.attention.output.LayerNorm", layer.attention_norm),
        **_module(f"{prefix}.intermediate.dense", layer.up),
        **_module(f"{prefix}.output.dense", layer.down),
        **_module(f"{prefix}.output.LayerNorm", layer.output_norm),
    }


def _module(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": parameter for name, parameter in module.named_parameters()}


def _fused(prefix: str, qkv: nn.Linear) -> dict[str, Tensor]:
    """The three parts of the fused projection, as views."""
    return {
        f"{prefix}.{part}.{name}": view
        for name, parameter in qkv.named_parameters()
        for part, view in zip(("query", "key", "value"), parameter.chunk(3), strict=True)
    }


def _current_name(name: str) -> str:
    for old, new in OLD_NAMES:
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return f"bert.{name}" if name.startswith(BARE) else name


def _fill(place: Tensor, tensor: Tensor, name: str, file: Path) -> None:
    if tensor.shape != place.shape or not tensor.is_floating_point():
        raise CheckpointError(
            f"{file}: {name} is {tensor.dtype} of shape {list(tensor.shape)}; expected floating "
            f"point of shape {list(place.shape)}, by config.json: do the two belong together?"
        )
    with torch.no_grad():
        place.copy_(tensor)


def _refuse_other_values(place: Tensor, tensor: Tensor, name: str, file: Path) -> None:
    if not torch.equal(place, tensor.to(place.dtype)):
        raise CheckpointError(
            f"{file}: {name} stands for a tensor that is there under another name with other values; expected the same: weights "
            "that are not tied cannot be run"
        )


def _refuse_other_names(folder: CheckpointFolder, found: set[str], expected: set[str]) -> None:
    head = folder.head
    unused = {*UNUSED, *UNUSED_BY.get(head.head, ())}
    missing, surplus = expected - found, found - expected - unused
    if missing or surplus:
        raise CheckpointError(
            f"{folder.path}: the weights are not those of {head.to_json()['architectures'][0]} with this config.json (pooling "
            f"{head.pooling}, head {head.head}); missing: {_listed(missing)}; not expected: {_listed(surplus)}"
        )


def _listed(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:NAMES_SHOWN]) or "none"
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _read(file: Path) -> Iterator[tuple[str, Tensor]]:
    return _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)


def _read_safetensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                yield name, tensors.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file}: cannot be read as safetensors ({error}); fetch the file again"
        ) from error


def _read_pickle(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:  # weights_only runs none of the code that a pickle may hold
        state = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except Exception as error:  # a broken pickle raises nearly anything
        raise CheckpointError(
            f"{file}: cannot be read as a plain state dict ({type(error).__name__}); it is "
            "damaged, or holds more than names and tensors, which is not loaded from a pickle: fetch the "
            "file again, or save model.state_dict(), better as safetensors"
        ) from error
    if not isinstance(state, Mapping):
        raise _no_state_dict(file, type(state).__name__)
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise _no_state_dict(file, f"{name!r}: {type(tensor).__name__}")
        yield name, tensor


def _no_state_dict(file: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{file}: holds {found}; expected a state dict, names and tensors only: save "
        "model.state_dict()"
    )
